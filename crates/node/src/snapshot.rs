//! What is in force: settings and everything read from the files they name, as one immutable value.
//!
//! Built by boot and reload, read by gate and workers behind one pointer. Either a whole snapshot is good or there is
//! none: no part of a bad set ever takes effect.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use motte_pki::ocsp::Staple;
use motte_pki::{ClientTrust, CrlFacts, ServerTls};
use motte_policy::{AclError, DynamicSecurity, Fingerprint, PasswordFile, Policy, PolicyFile, Subject, UserName};
use rustls_pki_types::{CertificateDer, UnixTime};

use crate::clock::unix_now;
use crate::config::ConfigError;
use crate::dynamic;
use crate::gate::authn::{Chain, RemoteSources};
use crate::gate::{tenancy, tls};
use crate::secret::{Resolver, process_environment};
use crate::settings::{Candidate, ListenerRules, Settings, SourceName};
use crate::sources::{Contents, Stamps};
use crate::worker::mailbox::Proof;

/// Everything in force.
#[derive(Debug)]
pub(crate) struct Snapshot {
    /// The settings.
    pub(crate) settings: Settings,
    /// TLS of each listener, in the order of the settings; `None` for one without TLS.
    pub(crate) tls: Vec<Option<ServerTls>>,
    /// Who is asked for the identity of a client, for each listener.
    pub(crate) chains: Vec<Chain>,
    /// The sources of identities that are not on this machine.
    remote: RemoteSources,
    /// The password file.
    pub(crate) passwords: Option<Arc<PasswordFile>>,
    /// Clients, groups and roles that are changed while the broker runs.
    pub(crate) dynamic: Option<Arc<DynamicSecurity>>,
    /// The access rules.
    pub(crate) policy: Arc<Policy>,
    /// What is in the files it was read from.
    pub(crate) contents: Contents,
    /// How those looked before they were read.
    pub(crate) stamps: Stamps,
}

impl Snapshot {
    /// Reads every file the settings name.
    ///
    /// # Errors
    /// All that is wrong with any of them.
    pub(crate) fn build(settings: Settings) -> Result<Self, Vec<ConfigError>> {
        let stamps = Stamps::of(&settings.files());
        let contents = Contents::of(&settings.files());
        let mut errors = Vec::new();
        let mut tls = Vec::new();
        for listener in &settings.listeners {
            let config = tls::server_tls(&settings.tls, listener);
            tls.extend(keep(config.map_err(|error| vec![error]), &mut errors));
        }
        let passwords = match &settings.identity.password_file {
            Some(path) => keep(read_passwords(path), &mut errors).map(Arc::new),
            None => None,
        };
        let dynamic = match &settings.dynamic {
            Some(dynamic) => keep(dynamic::read(&dynamic.file), &mut errors).map(Arc::new),
            None => None,
        };
        let policy = keep(read_policies(&settings), &mut errors);
        let mut resolver = Resolver::new(&process_environment, settings.vault.as_ref());
        let remote = {
            let (file, remote) = (&settings.source, &settings.identity.remote);
            RemoteSources::build(file, remote, &mut |reference| Some(resolver.resolve(reference)))
        };
        let remote = keep(remote, &mut errors);
        match policy.zip(remote) {
            Some((policy, remote)) if errors.is_empty() => {
                let policy = Arc::new(with_rules_of(policy, dynamic.as_deref()));
                let chain = |listener| Chain::of(listener, &settings, &remote);
                let chains = settings.listeners.iter().map(chain).collect();
                Ok(Self { settings, tls, chains, remote, passwords, dynamic, policy, contents, stamps })
            }
            _ => Err(errors),
        }
    }

    /// Takes over what the set before had fetched from elsewhere.
    pub(crate) fn inherit(&self, earlier: &Self) {
        self.remote.inherit(&earlier.remote);
    }

    /// The same with the server certificate read anew.
    ///
    /// # Errors
    /// What is wrong with the certificate or the key.
    pub(crate) fn with_new_certificate(&self) -> Result<Self, ConfigError> {
        let settings = self.settings.clone();
        let tls = settings.listeners.iter().map(|listener| tls::server_tls(&settings.tls, listener));
        let tls = tls.collect::<Result<_, _>>()?;
        let (chains, remote, passwords) = (self.chains.clone(), self.remote.clone(), self.passwords.clone());
        // What was read here and is not in force yet is the next reload's.
        let (contents, stamps) = (self.contents.clone(), self.stamps.clone());
        let (dynamic, policy) = (self.dynamic.clone(), Arc::clone(&self.policy));
        Ok(Self { settings, tls, chains, remote, passwords, dynamic, policy, contents, stamps })
    }

    /// The same with what a command made of dynamic security, which stands in its file as these bytes.
    pub(crate) fn with_dynamic(&self, model: DynamicSecurity, file: &Path, bytes: &[u8]) -> Self {
        let (settings, tls, chains) = (self.settings.clone(), self.tls.clone(), self.chains.clone());
        let policy = Arc::new(with_rules_of(Policy::clone(&self.policy), Some(&model)));
        let mut contents = self.contents.clone();
        contents.were_written(file, bytes);
        let (remote, passwords, stamps) = (self.remote.clone(), self.passwords.clone(), self.stamps.clone());
        let dynamic = Some(Arc::new(model));
        Self { settings, tls, chains, remote, passwords, dynamic, policy, contents, stamps }
    }

    /// The same at another time, where a rule holds at certain times only and one of those began or ended.
    pub(crate) fn at(&self, now: u64) -> Option<Self> {
        if !self.policy.is_outdated(now) {
            return None;
        }
        let (settings, tls, passwords) = (self.settings.clone(), self.tls.clone(), self.passwords.clone());
        let (chains, contents, stamps) = (self.chains.clone(), self.contents.clone(), self.stamps.clone());
        let (remote, policy) = (self.remote.clone(), Arc::new(self.policy.at(now)));
        let dynamic = self.dynamic.clone();
        Some(Self { settings, tls, chains, remote, passwords, dynamic, policy, contents, stamps })
    }

    /// Whether a client that came in through a listener belongs here to the tenant it was let into.
    pub(crate) fn keeps_tenant(&self, listener: usize, subject: &Subject) -> bool {
        let Some(listener) = self.settings.listeners.get(listener) else { return false };
        let claimed = tenancy::claim(&subject.attributes);
        let who = Candidate {
            identity: &subject.identity,
            listener: &listener.name,
            attributes: &subject.attributes,
            claimed: claimed.as_ref(),
        };
        self.settings.tenancy.of(&who).is_ok_and(|tenant| tenant == subject.tenant)
    }

    /// Whether such a proof is accepted here at `now`, by the rules of the listener it came in through: a secret that
    /// is still in the file and counts, a chain that is still good and still names the same, or nothing where that is
    /// enough.
    pub(crate) fn still_accepts(&self, proof: &Proof, now: UnixTime) -> bool {
        match proof {
            Proof::Password { listener, name, secret } => {
                let enough = self.rules(*listener).is_some_and(|rules| !rules.certificate_and_password);
                enough && !self.is_disabled(name) && self.stands(*listener, name, *secret, now)
            }
            Proof::Certificate { listener, chain, name, password } => {
                let enough = match password {
                    Some(secret) => self.stands(*listener, name, *secret, now),
                    None => self.rules(*listener).is_some_and(|rules| !rules.certificate_and_password),
                };
                enough && !self.is_disabled(name) && self.trusts(*listener, chain, name, now)
            }
            Proof::Vouched { listener, vouch, name, certificate } => {
                let asks = self.rules(*listener).is_some_and(|rules| {
                    let certificate_enough = certificate.is_some() || !rules.certificate_and_password;
                    let source = SourceName::parse(&vouch.source);
                    certificate_enough && source.is_some_and(|source| rules.asks(&source))
                });
                let certified = certificate.as_ref().is_none_or(|chain| self.trusts(*listener, chain, name, now));
                asks && certified && !self.is_disabled(name) && self.remote.uphold(vouch)
            }
            Proof::Nothing { listener } => self.rules(*listener).is_some_and(|rules| rules.allow_anonymous),
        }
    }

    /// Whether what was proved against `earlier` holds here as well: the same secret or entry of dynamic security, a
    /// chain that is still good at `now`.
    pub(crate) fn upholds(&self, earlier: &Self, proof: &Proof, now: UnixTime) -> bool {
        proof.entry_of().is_none_or(|name| self.keeps(earlier, name)) && self.still_accepts(proof, now)
    }

    /// Whether the password file is asked at a listener and has this secret of a user, which counts at `now`. One that
    /// is no secret of the file is a password of dynamic security; whether that is the same is not looked at.
    fn stands(&self, listener: usize, name: &UserName, secret: Option<Fingerprint>, now: UnixTime) -> bool {
        let asks = |source: &SourceName| self.rules(listener).is_some_and(|rules| rules.asks(source));
        let Some(secret) = secret else { return asks(&SourceName::Dynamic) };
        let file = self.passwords.as_ref().filter(|_| asks(&SourceName::Password));
        file.is_some_and(|file| file.stands(&name.0, secret, now.as_secs()))
    }

    /// Of whose secrets in the password file here one, or whose entry in dynamic security, is gone or different in
    /// `next`.
    pub(crate) fn users_revoked_by(&self, next: &Self) -> BTreeSet<UserName> {
        let lines = self.passwords.iter().flat_map(|file| file.names().into_iter().cloned());
        let clients = self.dynamic.iter().flat_map(|dynamic| dynamic.users()).map(|name| UserName(Arc::clone(name)));
        lines.chain(clients).filter(|name| !next.keeps(self, name)).collect()
    }

    /// Whether the access rules are the same as in `earlier`.
    pub(crate) fn has_the_rules_of(&self, earlier: &Self) -> bool {
        let files = (self.settings.policy_files(), earlier.settings.policy_files());
        files.0 == files.1 && files.0.iter().all(|file| self.contents.agree_on(&earlier.contents, file))
    }

    /// Whether the password file has a line of any kind for this user, or dynamic security an entry.
    pub(crate) fn knows(&self, user: &UserName) -> bool {
        self.has_line(user) || self.dynamic.as_ref().is_some_and(|dynamic| dynamic.knows(&user.0))
    }

    fn has_line(&self, user: &UserName) -> bool {
        self.passwords.as_ref().is_some_and(|file| file.contains(&user.0))
    }

    /// Whether dynamic security keeps a user out, however it proves its name.
    fn is_disabled(&self, user: &UserName) -> bool {
        self.dynamic.as_ref().is_some_and(|dynamic| dynamic.is_disabled(&user.0))
    }

    /// Shows an answer about the status of the server certificate in handshakes, or none.
    pub(crate) fn staple(&self, staple: Option<&Staple>) {
        for tls in self.tls.iter().flatten() {
            tls.staple(staple);
        }
    }

    /// The revocation lists in use; listeners may share one.
    pub(crate) fn revocation_lists(&self) -> impl Iterator<Item = &CrlFacts> {
        self.tls.iter().flatten().filter_map(ServerTls::client_trust).flat_map(ClientTrust::lists)
    }

    /// Whether a chain of client certificates, leaf first, proves to `listener` at `now` that its holder is `name`.
    fn trusts(&self, listener: usize, chain: &[CertificateDer<'static>], name: &UserName, now: UnixTime) -> bool {
        let (Some(leaf), Some(trust)) = (chain.first(), self.client_trust(listener)) else { return false };
        let field = self.rules(listener).and_then(ListenerRules::identity_field);
        let named = field.and_then(|field| tls::identity(leaf, field));
        named.is_some_and(|named| named == name.0) && trust.verify(chain, now).is_ok()
    }

    /// Whose client certificates count at a listener.
    fn client_trust(&self, listener: usize) -> Option<&ClientTrust> {
        self.tls.get(listener)?.as_ref()?.client_trust()
    }

    fn rules(&self, listener: usize) -> Option<&ListenerRules> {
        self.settings.listeners.get(listener).map(|listener| &listener.rules)
    }

    /// Whether all that `earlier` knows of a user's password stands here unchanged.
    fn keeps(&self, earlier: &Self, user: &UserName) -> bool {
        // The password file is asked before dynamic security, whatever the order of the sources: a name in both is one
        // that has to be the same in both.
        let models = (self.dynamic.as_ref(), earlier.dynamic.as_ref());
        let had_entry = models.1.is_some_and(|dynamic| dynamic.knows(&user.0));
        if had_entry && !matches!(models, (Some(now), Some(before)) if now.upholds(before, &user.0)) {
            return false;
        }
        if had_entry && !earlier.has_line(user) {
            return true;
        }
        let files = self.passwords.as_ref().zip(earlier.passwords.as_ref());
        files.is_some_and(|(now, before)| now.upholds(before, &user.0, unix_now()))
    }
}

/// The policy with the rules of dynamic security, where there is any.
fn with_rules_of(policy: Policy, dynamic: Option<&DynamicSecurity>) -> Policy {
    policy.with_dynamic(dynamic.map(|model| Arc::new(model.rules())))
}

/// Takes the value out of a result and its errors to the others. Listeners share files: one error is told once.
fn keep<T>(result: Result<T, Vec<ConfigError>>, errors: &mut Vec<ConfigError>) -> Option<T> {
    let add = |found: Vec<ConfigError>| {
        for error in found {
            if !errors.contains(&error) {
                errors.push(error);
            }
        }
    };
    result.map_err(add).ok()
}

fn read_passwords(path: &Path) -> Result<PasswordFile, Vec<ConfigError>> {
    let text = read(path, "create it with `motte passwd add`, or make it readable for the broker")?;
    PasswordFile::parse(&text).map_err(|errors| {
        let hint = "write each line with `motte passwd add USER`";
        errors.iter().map(|error| problem(path, 0, error.to_string(), hint)).collect()
    })
}

/// Every file of rules, as they hold now.
fn read_policies(settings: &Settings) -> Result<Policy, Vec<ConfigError>> {
    let mut errors = Vec::new();
    let hint = "make the file of rules readable for the broker; without rules nobody may do anything";
    let of_file = |path: &Path, found: Vec<AclError>| -> Vec<ConfigError> {
        found.into_iter().map(|error| problem(path, error.line, error.what, &error.hint)).collect()
    };
    let mut policy = Policy::deny_all();
    if let Some(path) = &settings.acl_file {
        let parsed = read(path, hint).and_then(|text| Policy::parse(&text).map_err(|found| of_file(path, found)));
        policy = keep(parsed, &mut errors).unwrap_or_default();
    }
    if let Some(path) = &settings.policy_file {
        let parsed = read(path, hint).and_then(|text| PolicyFile::parse(&text).map_err(|found| of_file(path, found)));
        let rules = keep(parsed, &mut errors).map(|file| Arc::clone(file.rules()));
        policy = rules.map_or_else(Policy::deny_all, |rules| policy.with_file(rules));
    }
    if errors.is_empty() { Ok(policy.at(unix_now())) } else { Err(errors) }
}

fn read(path: &Path, hint: &str) -> Result<String, Vec<ConfigError>> {
    std::fs::read_to_string(path).map_err(|error| vec![problem(path, 0, format!("cannot be read: {error}"), hint)])
}

/// An error of a file.
pub(crate) fn problem(path: &Path, line: usize, what: String, hint: &str) -> ConfigError {
    ConfigError { file: path.to_path_buf(), line, what, hint: hint.to_owned() }
}
