//! The command line of `motte cert`.
//!
//! Read by clap and by `cert`. Help, man pages and completions are made of it.

use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};
use motte_pki::{CLIENT_DAYS_MAX, HostName, INTERMEDIATE_DAYS, Reason, SERVER_DAYS_MAX};

const AFTER_HELP: &str = "\
Each certificate is a file NAME.pem with its key NAME.key (mode 0600) beside it. ca.index is the book of the CA: what \
it issued and revoked. A running broker reads its certificate and revocation lists again on SIGHUP.
Exit codes: 0 done; 1 failed; 2 wrong command line.";

/// What is asked.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// Directory of the CA and the certificates
    #[arg(long, value_name = "DIR", global = true, default_value = "motte-data/pki")]
    pub(super) dir: PathBuf,
    /// File (mode 0600) with the password of keys that are read; without it, it is asked for at the terminal
    #[arg(long, value_name = "FILE", global = true)]
    pub(super) key_password_file: Option<PathBuf>,
    /// File (mode 0600) with the password of what --encrypt and p12 write; without it, it is asked for at the terminal
    #[arg(long, value_name = "FILE", global = true)]
    pub(super) new_password_file: Option<PathBuf>,
    #[command(subcommand)]
    pub(super) action: Action,
}

/// Server, client or CA.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Kind {
    /// For a server: host names and addresses
    Server,
    /// For a client: its user name
    Client,
    /// For a CA below this one
    Ca,
}

/// What `sign` is asked.
#[derive(Debug, clap::Args)]
pub(super) struct Sign {
    /// The request, PEM or DER
    pub(super) csr: PathBuf,
    /// What the certificate is to be for
    #[arg(long, value_enum)]
    pub(super) role: Kind,
    /// Refuse unless the request is for this common name
    #[arg(long, value_name = "NAME")]
    pub(super) cn: Option<String>,
    /// Refuse unless all alternative names of the request are among these
    #[arg(long, value_name = "NAME", num_args = 1..)]
    pub(super) names: Vec<String>,
    /// Days it lasts; the most for its role unless said
    #[arg(long)]
    pub(super) days: Option<u16>,
    /// Where the certificate goes; NAME.pem beside NAME.csr unless said
    #[arg(long, value_name = "FILE")]
    pub(super) out: Option<PathBuf>,
    /// Overwrite
    #[arg(long)]
    pub(super) force: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum Action {
    /// Make a private CA: ca.pem and ca.key, for ten years
    Ca {
        /// Common name of the CA
        #[arg(long, default_value = "Motte private CA")]
        name: String,
        /// Allow it to sign intermediate CAs
        #[arg(long)]
        intermediates: bool,
        /// Only make ca.key and ca.csr, to be signed by a CA elsewhere; `import` takes the certificate back
        #[arg(long, conflicts_with = "intermediates")]
        csr: bool,
        /// Overwrite: every certificate of the old CA is then worth nothing
        #[arg(long)]
        force: bool,
        /// Protect the key with a password
        #[arg(long)]
        encrypt: bool,
    },
    /// Make an intermediate CA below this one, in a directory of its own: NAME/ca.pem and NAME/ca.key
    Intermediate {
        /// Name of the directory, below this one
        name: String,
        /// Its common name; the name of the directory unless said
        #[arg(long, value_name = "NAME")]
        cn: Option<String>,
        /// Days it lasts
        #[arg(long, default_value_t = INTERMEDIATE_DAYS, value_parser = clap::value_parser!(u16).range(1..=3653))]
        days: u16,
        /// Overwrite
        #[arg(long)]
        force: bool,
        /// Protect the key with a password
        #[arg(long)]
        encrypt: bool,
    },
    /// Make one server certificate for host names and IP addresses: server.pem and server.key
    Server {
        /// Names and addresses clients reach the server by
        #[arg(required = true, value_name = "NAME")]
        names: Vec<HostName>,
        /// Days it lasts
        #[arg(long, default_value_t = SERVER_DAYS_MAX, value_parser = clap::value_parser!(u16).range(1..=90))]
        days: u16,
        /// Overwrite
        #[arg(long)]
        force: bool,
        /// Protect the key with a password
        #[arg(long)]
        encrypt: bool,
    },
    /// Make client certificates, one for each name: NAME.pem and NAME.key
    Client {
        /// User names of the clients
        #[arg(required = true, value_name = "NAME")]
        names: Vec<String>,
        /// Days they last
        #[arg(long, default_value_t = CLIENT_DAYS_MAX, value_parser = clap::value_parser!(u16).range(1..=398))]
        days: u16,
        /// Overwrite
        #[arg(long)]
        force: bool,
        /// Protect the keys with a password
        #[arg(long)]
        encrypt: bool,
    },
    /// Make certificates anew with the same names and a new key; the old pair stays as NAME.pem.old and NAME.key.old
    Renew {
        /// Names of the certificates: `server`, or those of clients
        #[arg(required = true, value_name = "NAME")]
        names: Vec<String>,
        /// Days they last; the most for their role unless said
        #[arg(long)]
        days: Option<u16>,
        /// Keep the key
        #[arg(long, conflicts_with = "encrypt")]
        keep_key: bool,
        /// Protect the new keys with a password
        #[arg(long)]
        encrypt: bool,
    },
    /// Revoke a certificate for good, and make the revocation list anew
    Revoke {
        /// Its file, its name in the directory, or its serial number in hex
        #[arg(value_name = "FILE|NAME|SERIAL")]
        what: String,
        /// Why: unspecified, keyCompromise, CACompromise, affiliationChanged, superseded, cessationOfOperation
        #[arg(long, default_value = "unspecified")]
        reason: Reason,
        /// Only note it in the index; `crl` makes the list where the CA's key is
        #[arg(long)]
        no_crl: bool,
        /// Revoke a serial number that the index does not know
        #[arg(long)]
        unknown: bool,
    },
    /// Make the revocation list: crl.pem, with a list of each CA of the directory
    Crl {
        /// Days until the next one has to be there
        #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..=398))]
        days: u16,
        /// Also in DER: crl.der
        #[arg(long)]
        der: bool,
    },
    /// Make a key and a request for a CA elsewhere: server.key and server.csr, or for clients NAME.key and NAME.csr
    Csr {
        /// Names of the server, or of clients
        #[arg(required = true, value_name = "NAME")]
        names: Vec<String>,
        /// What for
        #[arg(long, value_enum, default_value = "server")]
        role: Kind,
        /// Overwrite
        #[arg(long)]
        force: bool,
        /// Protect the keys with a password
        #[arg(long)]
        encrypt: bool,
    },
    /// Sign a request: only its key, common name and alternative names are taken over
    Sign(Sign),
    /// Take a certificate of a CA elsewhere: leaf, chain and key in any files, order and form (PEM, DER, PKCS#12)
    Import {
        /// The files
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// Name to keep it by; `server` for a server, the common name for a client unless said
        #[arg(long, value_name = "NAME")]
        name: Option<String>,
        /// Overwrite; the old pair stays as NAME.pem.old and NAME.key.old
        #[arg(long)]
        force: bool,
        /// Protect the key with a password
        #[arg(long)]
        encrypt: bool,
    },
    /// Pack a certificate, its chain and its key for a device: NAME.p12 (PKCS#12 with AES), under a password
    P12 {
        /// Name of the certificate
        name: String,
        /// Where it goes; NAME.p12 in the directory unless said
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        /// Overwrite
        #[arg(long)]
        force: bool,
    },
    /// Put a new CA beside the old one; both are trusted until the last certificate of the old one has ended
    RotateCa {
        /// Remove the old CA, once its last certificate has ended
        #[arg(long, conflicts_with = "encrypt")]
        finish: bool,
        /// Protect the new key with a password
        #[arg(long)]
        encrypt: bool,
    },
    /// List certificates: what, for whom, days left, and whether they are revoked
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Show what the certificates of a file say
    Show {
        /// PEM file
        file: PathBuf,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}
