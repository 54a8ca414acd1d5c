//! Ed25519 keys in the files that OpenSSL reads and writes, and the DSSE envelope that they sign.

use super::with_ending;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{
    DecodePrivateKey as _, DecodePublicKey as _, EncodePrivateKey as _, EncodePublicKey as _, KeypairBytes,
};
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// What an envelope here holds.
pub const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";

/// Why a key or an envelope cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// A key file cannot be read or written.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A key is there already.
    #[error("{} is there already, and a key is never replaced: choose another name", path.display())]
    Occupied {
        /// The file.
        path: PathBuf,
    },
    /// A file holds no key of the kind that is needed.
    #[error("{} is no {kind} key: make one with `qa key new`, or with `openssl genpkey -algorithm ed25519`", path.display())]
    NoKey {
        /// The file.
        path: PathBuf,
        /// `private` or `public`, with the format.
        kind: &'static str,
    },
    /// The system gives no random bytes.
    #[error("the system gives no random bytes for a key: {0}")]
    Random(getrandom::Error),
    /// An envelope is not one.
    #[error("the envelope of the statement {0}")]
    Envelope(&'static str),
}

/// A signed payload, as DSSE writes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Envelope {
    /// [`PAYLOAD_TYPE`].
    pub payload_type: String,
    /// The payload in base64.
    pub payload: String,
    /// At least one.
    pub signatures: Vec<EnvelopeSignature>,
}

/// One signature of an envelope.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnvelopeSignature {
    /// [`key_id`] of the signer.
    pub keyid: String,
    /// The signature in base64.
    pub sig: String,
}

/// Make a pair of keys: `NAME.key`, which only its owner can read, and `NAME.pub`.
///
/// # Errors
/// When one of the files is there already, or cannot be written.
pub fn make_keys(name: &Path) -> Result<(PathBuf, PathBuf), SignError> {
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).map_err(SignError::Random)?;
    let (private, public) = (with_ending(name, ".key"), with_ending(name, ".pub"));
    let verifying = SigningKey::from_bytes(&secret).verifying_key();
    // Version 1 of PKCS#8, without the public half: the version that every OpenSSL reads.
    let pem = KeypairBytes { secret_key: secret, public_key: None }.to_pkcs8_pem(LineEnding::LF);
    let pem = pem.map_err(|_| SignError::NoKey { path: private.clone(), kind: "private" })?;
    create(&private, pem.as_bytes(), 0o600)?;
    let pem = verifying.to_public_key_pem(LineEnding::LF);
    let pem = pem.map_err(|_| SignError::NoKey { path: public.clone(), kind: "public" })?;
    create(&public, pem.as_bytes(), 0o644)?;
    Ok((private, public))
}

fn create(path: &Path, content: &[u8], mode: u32) -> Result<(), SignError> {
    let written = OpenOptions::new().write(true).create_new(true).mode(mode).open(path).and_then(|mut file| {
        file.write_all(content)?;
        file.sync_all()
    });
    written.map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => SignError::Occupied { path: path.to_owned() },
        _ => SignError::Io { action: "make", path: path.to_owned(), source },
    })
}

/// A private key, PKCS#8 in PEM.
///
/// # Errors
/// When there is none in the file.
pub fn read_private(path: &Path) -> Result<SigningKey, SignError> {
    let pem = read(path)?;
    let kind = "private ed25519 (PKCS#8, PEM)";
    SigningKey::from_pkcs8_pem(&pem).map_err(|_| SignError::NoKey { path: path.to_owned(), kind })
}

/// A public key, SPKI in PEM.
///
/// # Errors
/// When there is none in the file.
pub fn read_public(path: &Path) -> Result<VerifyingKey, SignError> {
    let pem = read(path)?;
    let kind = "public ed25519 (SPKI, PEM)";
    VerifyingKey::from_public_key_pem(&pem).map_err(|_| SignError::NoKey { path: path.to_owned(), kind })
}

fn read(path: &Path) -> Result<String, SignError> {
    std::fs::read_to_string(path).map_err(|source| SignError::Io { action: "read", path: path.to_owned(), source })
}

/// A name for a public key: the SHA-256 of its 32 bytes.
pub fn key_id(key: &VerifyingKey) -> String {
    qa_model::hash::sha256_bytes(key.as_bytes())
}

/// A payload in a signed envelope.
pub fn seal(payload: &[u8], key: &SigningKey) -> Envelope {
    let signature = key.sign(&pre_authentication(PAYLOAD_TYPE, payload));
    let signature =
        EnvelopeSignature { keyid: key_id(&key.verifying_key()), sig: STANDARD.encode(signature.to_bytes()) };
    Envelope { payload_type: PAYLOAD_TYPE.into(), payload: STANDARD.encode(payload), signatures: vec![signature] }
}

impl Envelope {
    /// What is inside, whoever signed it.
    ///
    /// # Errors
    /// When it is not base64, or something else than a statement.
    pub fn payload(&self) -> Result<Vec<u8>, SignError> {
        if self.payload_type != PAYLOAD_TYPE {
            return Err(SignError::Envelope("holds no in-toto statement"));
        }
        STANDARD.decode(&self.payload).map_err(|_| SignError::Envelope("is not base64"))
    }

    /// Whether one of the signatures is this key's.
    pub fn is_signed_by(&self, key: &VerifyingKey) -> bool {
        let Ok(payload) = self.payload() else { return false };
        let message = pre_authentication(PAYLOAD_TYPE, &payload);
        self.signatures.iter().any(|signature| {
            let bytes = STANDARD.decode(&signature.sig).unwrap_or_default();
            Signature::from_slice(&bytes).is_ok_and(|signature| key.verify_strict(&message, &signature).is_ok())
        })
    }
}

/// What is signed: DSSE's pre-authentication encoding.
fn pre_authentication(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let head = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len());
    [head.as_bytes(), payload].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of DSSE's protocol.md.
    #[test]
    fn the_pre_authentication_encoding_is_that_of_dsse() {
        let encoded = pre_authentication("http://example.com/HelloWorld", b"hello world");
        assert_eq!(encoded, b"DSSEv1 29 http://example.com/HelloWorld 11 hello world");
    }

    #[test]
    fn only_the_owner_of_the_key_signs_and_only_what_was_signed_counts() {
        let (mine, other) = (SigningKey::from_bytes(&[7; 32]), SigningKey::from_bytes(&[8; 32]));
        let envelope = seal(b"{}", &mine);
        assert_eq!(envelope.payload().unwrap(), b"{}");
        assert!(envelope.is_signed_by(&mine.verifying_key()));
        assert!(!envelope.is_signed_by(&other.verifying_key()));
        let changed = Envelope { payload: STANDARD.encode(b"{ }"), ..envelope.clone() };
        assert!(!changed.is_signed_by(&mine.verifying_key()));
        let retyped = Envelope { payload_type: "text/plain".into(), ..envelope.clone() };
        assert!(!retyped.is_signed_by(&mine.verifying_key()));
        assert!(retyped.payload().is_err());
        let unsigned = Envelope { signatures: Vec::new(), ..envelope };
        assert!(!unsigned.is_signed_by(&mine.verifying_key()));
    }

    #[test]
    fn keys_are_made_once_kept_private_and_read_back() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let (private, public) = make_keys(&dir.path().join("lab.2026")).unwrap();
        assert_eq!(
            (private.file_name().unwrap(), public.file_name().unwrap()),
            ("lab.2026.key".as_ref(), "lab.2026.pub".as_ref())
        );
        assert_eq!(private.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(read_private(&private).unwrap().verifying_key(), read_public(&public).unwrap());
        let refused = make_keys(&dir.path().join("lab.2026")).unwrap_err();
        assert!(matches!(refused, SignError::Occupied { .. }), "{refused}");
        let refused = read_private(&public).unwrap_err().to_string();
        assert!(refused.contains("is no private ed25519") && refused.contains("qa key new"), "{refused}");
    }
}
