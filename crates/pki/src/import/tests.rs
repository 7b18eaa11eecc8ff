//! What an import puts together out of any files in any order, and what it refuses.
#![allow(clippy::unwrap_used, reason = "a test that cannot set its scene must stop at that line")]

use super::*;
use crate::testing::{DAY, Scene, der, server_request};
use crate::{Authority, Chain, read_key};

/// A root, an intermediate CA and a server below that.
struct Shop {
    scene: Scene,
    intermediate: Authority,
}

impl Shop {
    fn new() -> Self {
        let now = SystemTime::now();
        let mut scene = Scene::new();
        scene.authority = Authority::create_root("Shop Root", 1, now).unwrap();
        let intermediate = scene.authority.create_intermediate("Shop CA", 900, now).unwrap();
        let issued = intermediate.issue(&server_request(), now).unwrap();
        let write = |name: &str, text: &str| std::fs::write(scene.path(name), text).unwrap();
        write("chain.pem", &issued.chain_pem);
        write("leaf.pem", &Chain::parse(&issued.chain_pem).unwrap().leaf_pem());
        write("middle.pem", intermediate.certificate_pem());
        write("root.pem", scene.authority.certificate_pem());
        write("leaf.key", &issued.key_pem);
        scene.openssl(&["x509", "-in", "leaf.pem", "-outform", "DER", "-out", "leaf.der"]);
        scene.openssl(&["pkey", "-in", "leaf.key", "-outform", "DER", "-out", "key.der"]);
        let pack = ["pkcs12", "-export", "-in", "chain.pem", "-inkey", "leaf.key", "-passout", "pass:shop", "-out"];
        scene.openssl(&[&pack[..], &["all.p12"]].concat());
        Self { scene, intermediate }
    }

    fn import(&self, files: &[&str], trusted: &str) -> Result<Assembled, ImportError> {
        let mut material = Material::default();
        let password = KeyPassword::new(Zeroizing::new(b"shop".to_vec()));
        for file in files {
            material.add(&std::fs::read(self.scene.path(file)).unwrap(), Some(&password))?;
        }
        material.assemble(trusted, SystemTime::now())
    }
}

#[test]
fn any_files_in_any_order_give_the_same_chain() {
    let shop = Shop::new();
    for files in [
        &["root.pem", "middle.pem", "leaf.pem", "leaf.key"][..],
        &["leaf.key", "leaf.pem", "middle.pem", "root.pem"],
        &["middle.pem", "key.der", "root.pem", "leaf.der"],
        &["all.p12"],
        &["chain.pem", "leaf.key"],
    ] {
        let assembled = shop.import(files, "").unwrap();
        let chain = Chain::parse(&assembled.chain_pem).unwrap();
        assert_eq!(chain.0.len(), 2, "{files:?}: the leaf and the CA below the root");
        assert_eq!(chain.leaf(), der(&shop.scene.path("leaf.pem")));
        let key = keys::parse_key(assembled.key_pem.as_bytes(), None).unwrap();
        assert_eq!(keys::public_key(&key), keys::public_key(&read_key_of(&shop)));
        std::fs::write(shop.scene.path("out.pem"), &assembled.chain_pem).unwrap();
        let verify = ["verify", "-CAfile", "root.pem", "-untrusted", "out.pem", "-purpose", "sslserver", "out.pem"];
        shop.scene.openssl(&verify);
    }
}

fn read_key_of(shop: &Shop) -> PrivateKeyDer<'static> {
    let bytes = std::fs::read(shop.scene.path("leaf.key")).unwrap();
    crate::write_private(&shop.scene.path("closed.key"), &bytes).unwrap();
    read_key(&shop.scene.path("closed.key"), None).unwrap()
}

#[test]
fn what_would_not_work_is_refused_and_named() {
    let shop = Shop::new();
    let told = |files: &[&str]| shop.import(files, "").err().unwrap().to_string();
    assert_eq!(told(&["leaf.pem", "leaf.key"]), "the chain is not complete: CN=Shop CA is missing");
    assert_eq!(told(&["leaf.pem", "leaf.key", "middle.pem"]), "the chain is not complete: CN=Shop Root is missing");
    let root = std::fs::read_to_string(shop.scene.path("root.pem")).unwrap();
    assert!(shop.import(&["leaf.pem", "leaf.key", "middle.pem"], &root).is_ok());
    assert!(matches!(shop.import(&["leaf.pem", "root.pem"], ""), Err(ImportError::NoPair)));
    std::fs::write(shop.scene.path("text"), "hello").unwrap();
    assert!(matches!(shop.import(&["text"], ""), Err(ImportError::Nothing)));
    std::fs::write(shop.scene.path("cut.pem"), &root[..root.len() / 2]).unwrap();
    assert!(shop.import(&["cut.pem"], "").is_err());
    let early = Material { certificates: vec![], keys: vec![] };
    assert!(matches!(early.assemble("", SystemTime::now()), Err(ImportError::NoPair)));
    let mut material = Material::default();
    for file in ["chain.pem", "leaf.key"] {
        material.add(&std::fs::read(shop.scene.path(file)).unwrap(), None).unwrap();
    }
    let late = material.assemble("", SystemTime::now() + DAY * 91).err().unwrap();
    assert!(late.to_string().contains("would not be accepted") && late.to_string().contains("expired"), "{late}");
    let mut material = Material::default();
    let sealed = std::fs::read(shop.scene.path("all.p12")).unwrap();
    assert_eq!(material.add(&sealed, None), Err(ImportError::Key(KeyError::Encrypted)));
    let wrong = KeyPassword::new(Zeroizing::new(b"else".to_vec()));
    assert_eq!(material.add(&sealed, Some(&wrong)), Err(ImportError::Key(KeyError::Password)));
}

#[test]
fn weak_keys_and_signatures_are_refused() {
    let shop = Shop::new();
    let run = |arguments: &[&str]| shop.scene.openssl(arguments);
    let key = shop.intermediate.key_pem();
    std::fs::write(shop.scene.path("middle.key"), key.as_bytes()).unwrap();
    std::fs::write(shop.scene.path("ext"), "subjectAltName=DNS:localhost\nextendedKeyUsage=serverAuth\n").unwrap();
    for (options, digest, what) in
        [(["RSA", "rsa_keygen_bits:1024"], "-sha256", "RSA 1024"), (["RSA", "rsa_keygen_bits:2048"], "-sha1", "SHA-1")]
    {
        run(&["genpkey", "-algorithm", options[0], "-pkeyopt", options[1], "-out", "weak.key"]);
        run(&["req", "-new", "-key", "weak.key", "-subj", "/CN=weak", "-out", "weak.csr"]);
        let sign = ["x509", "-req", "-in", "weak.csr", "-CA", "middle.pem", "-CAkey", "middle.key", "-extfile", "ext"];
        run(&[&sign[..], &["-days", "9", digest, "-out", "weak.pem"]].concat());
        let refused = shop.import(&["weak.pem", "weak.key", "middle.pem", "root.pem"], "").err().unwrap();
        let weak = matches!(&refused, ImportError::Weak { what: told, .. } if told.contains(what));
        // A key of 1024 bits is not even read.
        assert!(weak || what == "RSA 1024" && refused == ImportError::Key(KeyError::Damaged), "{refused}");
    }
}
