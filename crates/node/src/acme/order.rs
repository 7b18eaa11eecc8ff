//! One order: the account, the challenges of every name, the request and the certificate.
//!
//! Called by `acme` when a certificate is due. Keeps the account's key with mode 0600 and never logs it.

use std::path::Path;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use instant_acme::{
    Account, AccountCredentials, AuthorizationStatus, ChallengeType, ExternalAccountKey, Identifier, NewAccount,
    NewOrder, Order, OrderStatus, RetryPolicy,
};
use motte_pki::Issued;
use motte_pki::acme::ServerRequest;
use serde::{Deserialize, Serialize};

use super::challenges::{Answer, Challenges};
use super::transport::Https;
use super::{OrderError, told};
use crate::secret::process_environment;
use crate::settings::{AcmeChallenge, AcmeSettings, ExternalBinding};

/// How long a CA may take over the challenges, and over the certificate.
const CA_PATIENCE: Duration = Duration::from_secs(240);

/// What the account's file holds: an account is of use at the directory only that made it.
#[derive(Deserialize, Serialize)]
struct AccountFile {
    directory: String,
    credentials: AccountCredentials,
}

/// Gets a certificate for the names of `acme`.
pub(super) async fn certificate(acme: &AcmeSettings, challenges: &Challenges) -> Result<Issued, OrderError> {
    let account = account(acme).await?;
    let identifiers: Vec<_> = acme.names.iter().map(|name| Identifier::Dns(name.to_string())).collect();
    let mut order = account.new_order(&NewOrder::new(&identifiers)).await?;
    show_that_names_are_ours(&mut order, acme, challenges).await?;
    let request = ServerRequest::new(&acme.names)?;
    order.finalize_csr(request.der()).await?;
    let patience = RetryPolicy::new().timeout(CA_PATIENCE);
    let chain = order.poll_certificate(&patience).await?;
    Ok(request.answered(&chain, SystemTime::now())?)
}

/// The account that is kept, or a new one.
async fn account(acme: &AcmeSettings) -> Result<Account, OrderError> {
    let broken = |error: &dyn std::fmt::Display| OrderError::File(format!("{}: {error}", acme.account.display()));
    let kept =
        acme.account.exists().then(|| read_account(&acme.account)).transpose().map_err(|error| broken(&error))?;
    let https = Box::new(Https::new(acme).map_err(|error| OrderError::File(error.to_string()))?);
    if let Some(kept) = kept.filter(|kept| kept.directory == acme.directory) {
        return Ok(Account::builder_with_http(https).from_credentials(kept.credentials).await?);
    }
    let contact: Vec<_> = acme.contact.iter().map(String::as_str).collect();
    let new = NewAccount { contact: &contact, terms_of_service_agreed: true, only_return_existing: false };
    let binding = acme.binding.as_ref().map(external_key).transpose()?;
    let builder = Account::builder_with_http(https);
    let (account, credentials) = builder.create(&new, acme.directory.clone(), binding.as_ref()).await?;
    let file = AccountFile { directory: acme.directory.clone(), credentials };
    let text = zeroize::Zeroizing::new(serde_json::to_vec(&file).map_err(|error| broken(&error))?);
    motte_pki::write_private(&acme.account, &text).map_err(|error| broken(&error))?;
    Ok(account)
}

fn read_account(file: &Path) -> Result<AccountFile, String> {
    let text = motte_pki::read_private(file).map_err(|error| error.to_string())?;
    serde_json::from_slice(&text).map_err(|_| String::from("holds no account; remove it to make a new one"))
}

fn external_key(binding: &ExternalBinding) -> Result<ExternalAccountKey, OrderError> {
    let broken = |error: String| OrderError::File(format!("[acme] external_key: {error}"));
    let secret = binding.key.resolve(&process_environment).map_err(|error| broken(error.to_string()))?;
    let key = URL_SAFE_NO_PAD.decode(secret.bytes()).map_err(|_| broken(String::from("is not base64url")))?;
    Ok(ExternalAccountKey::new(binding.key_id.clone(), &key))
}

/// Answers the challenge of every name and waits until the CA has looked. The answers are taken away again.
async fn show_that_names_are_ours(
    order: &mut Order,
    acme: &AcmeSettings,
    challenges: &Challenges,
) -> Result<(), OrderError> {
    // Answers stand until this is dropped.
    let board = challenges.open(acme.challenge).await?;
    let (kind, word) = match acme.challenge {
        AcmeChallenge::Http(_) => (ChallengeType::Http01, "http-01"),
        AcmeChallenge::TlsAlpn => (ChallengeType::TlsAlpn01, "tls-alpn-01"),
    };
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization?;
        let name = authorization.identifier().to_string();
        match authorization.status {
            AuthorizationStatus::Valid => continue,
            AuthorizationStatus::Pending => {}
            status => return Err(OrderError::NotShown(name, format!("the authorization is {status:?}"))),
        }
        let Some(mut challenge) = authorization.challenge(kind.clone()) else {
            return Err(OrderError::NotOffered(word, name));
        };
        let proof = challenge.key_authorization();
        board.answer(&Answer {
            name: &name,
            token: &challenge.token,
            proof: proof.as_str(),
            digest: proof.digest().as_ref(),
        })?;
        challenge.set_ready().await?;
    }
    match order.poll_ready(&RetryPolicy::new().timeout(CA_PATIENCE)).await {
        Ok(OrderStatus::Ready | OrderStatus::Valid) => Ok(()),
        Ok(_) | Err(instant_acme::Error::Api(_)) => Err(why_not(order).await),
        Err(error) => Err(error.into()),
    }
}

/// What the CA did not like.
async fn why_not(order: &mut Order) -> OrderError {
    let mut authorizations = order.authorizations();
    while let Some(Ok(mut authorization)) = authorizations.next().await {
        let name = authorization.identifier().to_string();
        let Ok(state) = authorization.refresh().await else { continue };
        let problem = state.challenges.iter().find_map(|challenge| challenge.error.clone());
        if let Some(problem) = problem {
            return OrderError::NotShown(name, told(&instant_acme::Error::Api(problem)));
        }
    }
    OrderError::Invalid
}
