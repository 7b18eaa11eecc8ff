//! A directory as a source of identities: `[[identity.ldap]]`.
//!
//! Asked by the chain. The broker searches the user as itself and then binds as the user, with the password of CONNECT.
//! An empty password is never sent: directories take it for nobody and say yes.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ldap3::{Ldap, LdapConnAsync, LdapConnSettings, LdapError, Scope, SearchEntry, SearchOptions, StdStream};
use motte_pki::{ClientTlsParams, Roots, TlsFileError, client_config};
use motte_policy::{Attributes, Authenticated, Facts, UserName, Vouch};
use rustls::ClientConfig;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use super::{Answer, Question, Source, Verdict};
use crate::gate::Refusal;
use crate::outbound::addresses;
use crate::secret::Secret;
use crate::settings::{LdapProtection, LdapSettings, Settings};

use words::{Outcome, escaped, outcome};

mod words;

/// Time for the client's own word on a directory that is slow.
const GRACE: Duration = Duration::from_secs(1);
/// One is wanted; a second one shows that the filter does not name one user.
const ENTRIES_MAX: i32 = 2;

/// A directory.
pub(crate) struct Directory {
    settings: LdapSettings,
    bind_password: Secret,
    tls: Option<Arc<ClientConfig>>,
    places: Semaphore,
    idle: Mutex<Vec<Ldap>>,
}

impl fmt::Debug for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Directory").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// Why there is no verdict.
enum Trouble {
    /// The directory cannot be asked, or its answer is not one.
    Unavailable(String),
    /// It does not know the user.
    Unknown,
    /// The user is somebody else, or did not prove it.
    Refused(String),
}

impl From<LdapError> for Trouble {
    fn from(error: LdapError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

impl Directory {
    /// A directory that is searched with this password.
    ///
    /// # Errors
    /// The file with the CAs cannot be used.
    pub(crate) fn new(settings: &LdapSettings, bind_password: Secret) -> Result<Self, TlsFileError> {
        let tls = match settings.url.protection {
            LdapProtection::None => None,
            LdapProtection::Tls | LdapProtection::StartTls => {
                let roots = settings.ca.clone().map_or(Roots::System, Roots::File);
                Some(client_config(&ClientTlsParams { roots, ..ClientTlsParams::default() })?)
            }
        };
        let (places, idle) = (Semaphore::new(settings.connections_max.max(1)), Mutex::default());
        Ok(Self { settings: settings.clone(), bind_password, tls, places, idle })
    }

    async fn judge(&self, question: &Question<'_>) -> Verdict {
        let Some(user) = question.connect.user_name.filter(|user| !user.is_empty()) else { return Verdict::NotMine };
        let Some(password) = question.connect.password else { return Verdict::NotMine };
        // A bind with an empty password succeeds as nobody (RFC 4513, 5.1.2).
        let Some(password) = std::str::from_utf8(password).ok().filter(|password| !password.is_empty()) else {
            return Verdict::Refused(question.wrong());
        };
        let most = self.settings.timeout;
        let asking = tokio::time::timeout(most, self.authenticate(user, password)).await;
        match asking.unwrap_or_else(|_| Err(Trouble::Unavailable(format!("no answer within {most:?}")))) {
            Ok(attributes) => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
                let until = Some(now.saturating_add(self.settings.session_max.as_secs()));
                let facts = Facts { attributes: Arc::new(attributes), until, ..Facts::default() };
                let vouch = Vouch { source: self.name().into(), key: None };
                match Authenticated::by_source(UserName(user.into()), vouch).with_facts(facts) {
                    Ok(who) => Verdict::Accepted(who),
                    Err(error) => self.refuse(question, &error.to_string()),
                }
            }
            Err(Trouble::Unknown) => Verdict::NotMine,
            Err(Trouble::Refused(what)) => self.refuse(question, &what),
            Err(Trouble::Unavailable(what)) => Verdict::Unavailable(question.unavailable(self, what)),
        }
    }

    fn refuse(&self, question: &Question<'_>, what: &str) -> Verdict {
        let detail = Some(format!("{}: {what}", self.name()));
        Verdict::Refused(Refusal { detail, ..question.wrong() })
    }

    /// Finds the user, proves the password, and gives what is taken of the entry.
    async fn authenticate(&self, user: &str, password: &str) -> Result<Attributes, Trouble> {
        let _place = self.places.acquire().await.map_err(|error| Trouble::Unavailable(error.to_string()))?;
        let (mut ldap, entry) = self.search(user).await?;
        let attributes = self.read(user, &entry)?;
        let bound = ldap.simple_bind(&entry.dn, password).await?;
        match outcome(bound.rc) {
            Outcome::Success => {}
            Outcome::WrongPassword => return Err(Trouble::Refused(String::from("the password is wrong or locked"))),
            Outcome::Other => return Err(Trouble::Unavailable(format!("the user's bind ends with {}", bound.rc))),
        }
        // Whoever uses it next binds as the broker first.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(ldap);
        Ok(attributes)
    }

    /// The entry of the user, found over a connection that is kept or else a new one.
    async fn search(&self, user: &str) -> Result<(Ldap, SearchEntry), Trouble> {
        while let Some(mut kept) = self.take() {
            // The directory may have closed it; a fresh one tells whether it is there at all.
            if let Ok(bound) = kept.simple_bind(&self.settings.bind_dn, self.bind_text()?).await
                && outcome(bound.rc) == Outcome::Success
            {
                let entry = self.find(&mut kept, user).await?;
                return Ok((kept, entry));
            }
        }
        let mut fresh = self.connect().await?;
        let bound = fresh.simple_bind(&self.settings.bind_dn, self.bind_text()?).await?;
        if outcome(bound.rc) != Outcome::Success {
            return Err(Trouble::Unavailable(format!("the directory refuses the broker itself with {}", bound.rc)));
        }
        let entry = self.find(&mut fresh, user).await?;
        Ok((fresh, entry))
    }

    async fn find(&self, ldap: &mut Ldap, user: &str) -> Result<SearchEntry, Trouble> {
        let LdapSettings { base_dn, filter, attributes, username_attribute, .. } = &self.settings;
        let filter = filter.replace("%u", &escaped(user));
        let mut wanted: Vec<&str> = attributes.iter().map(String::as_str).collect();
        wanted.push(username_attribute);
        let options = SearchOptions::new().sizelimit(ENTRIES_MAX);
        let found = ldap.with_search_options(options).search(base_dn, Scope::Subtree, &filter, wanted).await?;
        // A bound that is reached is no error here: it says that there are more than one.
        let (entries, result) = (found.0, found.1);
        if !matches!(result.rc, 0 | 4) {
            return Err(Trouble::Unavailable(format!("the search ends with {}", result.rc)));
        }
        // Referrals lead to servers that nobody configured.
        let mut entries = entries.into_iter().filter(|entry| !entry.is_ref() && !entry.is_intermediate());
        match (entries.next(), entries.next()) {
            (None, _) => Err(Trouble::Unknown),
            (Some(_), Some(_)) => Err(Trouble::Refused(String::from("the filter finds more than one entry"))),
            (Some(entry), None) => Ok(SearchEntry::construct(entry)),
        }
    }

    /// What is taken of an entry. A directory finds `ANNA` for `anna`; access rules tell them apart, so the user has to
    /// say the name as it is written there.
    fn read(&self, user: &str, entry: &SearchEntry) -> Result<Attributes, Trouble> {
        if entry.dn.is_empty() {
            return Err(Trouble::Unavailable(String::from("the entry has no name")));
        }
        let name = &self.settings.username_attribute;
        if !values(entry, name).iter().any(|value| value == user) {
            return Err(Trouble::Refused(format!("the user name is not written like the {name} of the entry")));
        }
        let mut attributes = Attributes::default();
        for name in &self.settings.attributes {
            for value in values(entry, name) {
                let added = attributes.add(&format!("ldap.{name}"), value);
                added.map_err(|error| Trouble::Refused(error.to_string()))?;
            }
        }
        Ok(attributes)
    }

    fn bind_text(&self) -> Result<&str, Trouble> {
        self.bind_password.text().map_err(|error| Trouble::Unavailable(error.to_string()))
    }

    fn take(&self) -> Option<Ldap> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain_mut(|ldap| !ldap.is_closed());
        idle.pop()
    }

    async fn connect(&self) -> Result<Ldap, Trouble> {
        let url = &self.settings.url;
        let failed = |error: std::io::Error| Trouble::Unavailable(format!("the connection failed: {error}"));
        let addresses = addresses(&url.host, url.port).await.map_err(failed)?;
        let stream = TcpStream::connect(addresses.as_slice()).await.map_err(failed)?;
        stream.set_nodelay(true).map_err(failed)?;
        let stream = stream.into_std().map_err(failed)?;
        let settings = LdapConnSettings::new()
            .set_std_stream(StdStream::Tcp(stream))
            .set_starttls(url.protection == LdapProtection::StartTls);
        let settings = match &self.tls {
            Some(config) => settings.set_config(Arc::clone(config)),
            None => settings,
        };
        let (connection, ldap) = LdapConnAsync::with_settings(settings, &url.to_string()).await?;
        // Whoever asks over it learns of its end; it ends with the last one.
        tokio::spawn(async move { drop(connection.drive().await) });
        Ok(ldap)
    }
}

/// The values of an attribute, whose name has no case.
fn values<'a>(entry: &'a SearchEntry, name: &str) -> &'a [String] {
    let found = entry.attrs.iter().find(|(found, _)| found.eq_ignore_ascii_case(name));
    found.map_or(&[], |(_, values)| values)
}

impl Source for Directory {
    fn name(&self) -> String {
        format!("ldap:{}", self.settings.name)
    }

    fn timeout(&self, _: &Settings) -> Duration {
        self.settings.timeout + GRACE
    }

    fn judges_names(&self) -> bool {
        true
    }

    fn ask<'a>(&'a self, question: &'a Question<'a>) -> Answer<'a> {
        Box::pin(self.judge(question))
    }
}
