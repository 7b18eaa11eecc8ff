//! Signed tokens as a source of identities: `[[identity.jwt]]`.
//!
//! Asked by the chain. A token of another issuer is somebody else's; one of this issuer is checked whole and decides.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use motte_pki::{JwtError, JwtExpectations, JwtKeys, KeyMark, VerifiedJwt, jwt_issuer, verify_jwt};
use motte_policy::{Authenticated, Facts, TenantName, UserName, Vouch};
use serde_json::Value;

use super::claims::{attributes, claim, grants};
use super::{Answer, Question, Source, Verdict};
use crate::gate::Refusal;
use crate::settings::{JwtKeySource, JwtSettings, Settings, TokenIn};

pub(crate) use keyring::{Fetched, Keyring};

mod keyring;

/// Time for the chain to tell of a fetch that took all the time it had.
const GRACE: Duration = Duration::from_secs(1);

/// An issuer whose tokens are believed.
#[derive(Debug)]
pub(crate) struct Tokens {
    settings: JwtSettings,
    keys: Keyring,
}

impl Tokens {
    /// The source of these settings and keys.
    pub(crate) fn new(settings: &JwtSettings, keys: Keyring) -> Self {
        Self { settings: settings.clone(), keys }
    }

    /// Takes over what was fetched before a reload.
    pub(crate) fn inherit(&self, earlier: &Self) {
        self.keys.inherit(&earlier.keys);
    }

    /// Whether a token that was good before is good still: signed with a key that counts.
    pub(crate) fn upholds(&self, key: KeyMark) -> bool {
        self.keys.hold(key)
    }

    async fn judge(&self, question: &Question<'_>) -> Verdict {
        let connect = question.connect;
        let token = match self.settings.token_in {
            TokenIn::Password => connect.password.and_then(|bytes| std::str::from_utf8(bytes).ok()),
            TokenIn::Username => connect.user_name,
        };
        // Who signed it is not asked yet: whose it claims to be only says who has to be asked.
        let Some(token) = token.filter(|token| jwt_issuer(token).as_deref() == Some(&*self.settings.issuer)) else {
            return Verdict::NotMine;
        };
        let verified = match self.verify(token).await {
            Ok(verified) => verified,
            Err(Failed::Unavailable(what)) => return Verdict::Unavailable(question.unavailable(self, what)),
            Err(Failed::Wrong(error)) => return self.refuse(question, &error.to_string()),
        };
        match self.facts(question, &verified) {
            Ok((name, facts)) => {
                let vouch = Vouch { source: self.name().into(), key: Some(verified.key.to_bytes()) };
                match Authenticated::by_source(name, vouch).with_facts(facts) {
                    Ok(who) => Verdict::Accepted(who),
                    Err(error) => self.refuse(question, &error.to_string()),
                }
            }
            Err(what) => self.refuse(question, &what),
        }
    }

    async fn verify(&self, token: &str) -> Result<VerifiedJwt, Failed> {
        let keys = self.keys.current().await.map_err(Failed::Unavailable)?;
        match self.verify_with(token, &keys) {
            Err(JwtError::UnknownKey) => {}
            other => return other.map_err(Failed::Wrong),
        }
        match self.keys.newer().await.map_err(Failed::Unavailable)? {
            Some(keys) => self.verify_with(token, &keys).map_err(Failed::Wrong),
            None => Err(Failed::Wrong(JwtError::UnknownKey)),
        }
    }

    fn verify_with(&self, token: &str, keys: &JwtKeys) -> Result<VerifiedJwt, JwtError> {
        let JwtSettings { algorithms, issuer, audience, leeway, .. } = &self.settings;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
        verify_jwt(token, keys, &JwtExpectations { algorithms, issuer, audience, leeway_s: leeway.as_secs(), now })
    }

    /// Who it is and what else the token says.
    fn facts(&self, question: &Question<'_>, verified: &VerifiedJwt) -> Result<(UserName, Facts), String> {
        let JwtSettings { username_claim, client_id_claim, acl_claim, tenant_claim, token_in, .. } = &self.settings;
        let text = |name: &str| {
            let text = claim(&verified.claims, name).and_then(Value::as_str).filter(|text| !text.is_empty());
            text.ok_or_else(|| format!("it has no usable claim {name:?}"))
        };
        let name = text(username_claim)?;
        if *token_in == TokenIn::Password && question.connect.user_name.is_some_and(|user| user != name) {
            return Err(String::from("the user name beside the token is not the one in it"));
        }
        if let Some(claim) = client_id_claim
            && text(claim)? != question.connect.client_id
        {
            return Err(String::from("it is for another client identifier"));
        }
        let rules = acl_claim.as_ref().and_then(|name| claim(&verified.claims, name));
        let grants = rules.map(grants).transpose().map_err(|error| error.to_string())?;
        let tenant = tenant_claim.as_deref().map(text).transpose()?;
        let tenant = tenant.map(TenantName::parse).transpose().map_err(|error| error.to_string())?;
        let attributes = attributes("jwt", &verified.claims).map_err(|error| error.to_string())?;
        let facts = Facts {
            attributes: Arc::new(attributes),
            tenant,
            grants: grants.map(Arc::new),
            until: Some(verified.expires_at),
            ..Facts::default()
        };
        Ok((UserName(name.into()), facts))
    }

    fn refuse(&self, question: &Question<'_>, what: &str) -> Verdict {
        let detail = Some(format!("{}: the token is refused: {what}", self.name()));
        Verdict::Refused(Refusal { detail, ..question.wrong() })
    }
}

/// Why there is no verified token.
enum Failed {
    /// It is wrong.
    Wrong(JwtError),
    /// Nobody can tell.
    Unavailable(String),
}

impl Source for Tokens {
    fn name(&self) -> String {
        format!("jwt:{}", self.settings.name)
    }

    fn timeout(&self, settings: &Settings) -> Duration {
        match &self.settings.keys {
            // The first fetch, and one more for a key that is new.
            JwtKeySource::Url(jwks) => jwks.timeout * 2 + GRACE,
            JwtKeySource::File(_) | JwtKeySource::Secret(_) => settings.gate.admission_deadline,
        }
    }

    fn judges_names(&self) -> bool {
        true
    }

    fn ask<'a>(&'a self, question: &'a Question<'a>) -> Answer<'a> {
        Box::pin(self.judge(question))
    }
}
