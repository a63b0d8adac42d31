//! The token signing keys: one PEM file each in a directory only we can read.
//!
//! Every key in the directory verifies; the newest that is old enough for all verifiers to know it signs.
//! Replicas share the directory, or its contents within the time a key takes to mature. `ferrostack admin
//! token-keys rotate` puts another `NAME.pem` there, `prune` takes away what no live token can need.

pub mod directory;
pub mod rotation;

use aws_lc_rs::{
    digest::{SHA256, digest},
    encoding::{AsDer, PublicKeyX509Der},
    hmac,
    rand::{SecureRandom, SystemRandom},
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use ferrostack_client::{PublicKey, PublicKeys};
use ferrostack_model::{Error, Result, Timestamp, TokenClaims};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use parking_lot::{Mutex, RwLock};
use serde::{Serialize, de::DeserializeOwned};
use std::{
    collections::BTreeMap,
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};
use zeroize::Zeroizing;

/// Longest token that is looked at, bytes.
const MAX_TOKEN: usize = 8192;
/// Longest id of a key that is looked for in the directory.
const MAX_KID: usize = 64;

/// The keys, by id: the name of the file.
pub struct Keys {
    directory: PathBuf,
    /// Seconds a key is published before it signs.
    mature_after: i64,
    keys: RwLock<BTreeMap<String, Arc<Key>>>,
    /// Held while `keys` is brought in step with the directory.
    reading: Mutex<()>,
    /// How often a key was taken away.
    losses: AtomicU64,
    /// Keys the digests of generated secrets; with its id.
    secrets: (hmac::Key, String),
}

struct Key {
    made_at: Timestamp,
    signing: EncodingKey,
    verifying: DecodingKey,
    public_pem: String,
}

impl Keys {
    /// Reads the directory; makes it and a first key if there is none. Refuses a directory or file that others can
    /// write to. A key signs when it is `mature_after` seconds old.
    pub fn open(directory: &Path, mature_after: i64) -> Result<Self> {
        directory::prepare(directory)?;
        let keys = Self {
            directory: directory.to_owned(),
            mature_after,
            keys: RwLock::default(),
            reading: Mutex::default(),
            losses: AtomicU64::new(0),
            secrets: secrets_key(directory)?,
        };
        keys.reload()?;
        if keys.keys.read().is_empty() {
            keys.generate()?;
            keys.reload()?;
        }
        Ok(keys)
    }

    /// Reads what was added to the directory, forgets what was taken away. A file that is no good key is the error,
    /// after the others are in force.
    pub fn reload(&self) -> Result<()> {
        let _alone = self.reading.lock();
        let listed = directory::list(&self.directory)?;
        let have = self.keys.read().clone();
        let mut bad = None;
        let mut found = BTreeMap::new();
        for (kid, made_at) in listed {
            let old = have.get(&kid);
            match old.filter(|k| k.made_at == made_at) {
                Some(key) => {
                    found.insert(kid, key.clone());
                }
                None => match Key::read(&directory::file(&self.directory, &kid)) {
                    Ok(key) => {
                        found.insert(kid, Arc::new(key));
                    }
                    Err(error) => {
                        bad.get_or_insert(error);
                        if let Some(old) = old {
                            found.insert(kid, old.clone());
                        }
                    }
                },
            }
        }
        let lost = have.keys().any(|kid| !found.contains_key(kid));
        *self.keys.write() = found;
        if lost {
            self.losses.fetch_add(1, Ordering::Release);
        }
        bad.map_or(Ok(()), Err)
    }

    /// How often a key was taken away: what is remembered of its tokens is void then.
    pub fn losses(&self) -> u64 {
        self.losses.load(Ordering::Acquire)
    }

    /// Makes one more key; it signs when it is mature.
    pub fn generate(&self) -> Result<String> {
        Self::generate_in(&self.directory)
    }

    fn generate_in(directory: &Path) -> Result<String> {
        directory::prepare(directory)?;
        let document = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)
            .and_then(|pair| pair.to_pkcs8v1())
            .map_err(|_| Error::internal("cannot generate a token key"))?;
        let text = Zeroizing::new(pem("PRIVATE KEY", document.as_ref()));
        let kid = format!("{:010x}-{}", Timestamp::now().seconds(), random_hex(4)?);
        write_secret(&directory::file(directory, &kid), text.as_bytes())?;
        Ok(kid)
    }

    /// Signs `claims`: a compact JWS.
    pub fn sign(&self, claims: &TokenClaims) -> Result<String> {
        self.sign_as("JWT", claims)
    }

    /// Signs anything else as of the type `typ`, for [`Self::read_as`] alone.
    pub fn sign_as<T: Serialize>(&self, typ: &str, claims: &T) -> Result<String> {
        let (kid, key) = {
            let keys = self.keys.read();
            let made = keys.iter().map(|(kid, key)| (kid.clone(), key.made_at));
            let kid = rotation::signer(made, self.mature_after, Timestamp::now());
            kid.and_then(|kid| keys.get(&kid).cloned().map(|key| (kid, key)))
                .ok_or_else(|| Error::internal("no token key"))?
        };
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some(kid);
        header.typ = Some(typ.into());
        jsonwebtoken::encode(&header, claims, &key.signing)
            .map(ferrostack_client::lower)
            .map_err(|e| Error::internal(format!("signing a token: {e}")))
    }

    /// The claims of a token with a good signature, expired ones too. `None` for anything else.
    pub fn read(&self, token: &str) -> Option<TokenClaims> {
        self.read_as("JWT", token)
    }

    /// What [`Self::sign_as`] signed as of the type `typ`. `None` for anything else.
    pub fn read_as<T: DeserializeOwned>(&self, typ: &str, token: &str) -> Option<T> {
        if token.len() > MAX_TOKEN || !ferrostack_client::is_lower(token) {
            return None;
        }
        let header = jsonwebtoken::decode_header(token).ok()?;
        if header.typ.as_deref() != Some(typ) {
            return None;
        }
        let kid = header.kid?;
        let mut validation = Validation::new(Algorithm::ES256);
        validation.required_spec_claims.clear();
        validation.validate_exp = false; // exp_us is checked by the caller, in microseconds
        validation.validate_aud = false;
        let key = self.find(&kid)?;
        jsonwebtoken::decode::<T>(token, &key.verifying, &validation).ok().map(|d| d.claims)
    }

    /// Whether the key `kid` is there (not taken away).
    pub fn has(&self, kid: &str) -> bool {
        self.keys.read().contains_key(kid)
    }

    /// The key `kid`; looked for in the directory if it is unknown, since a replica may just have made it.
    fn find(&self, kid: &str) -> Option<Arc<Key>> {
        if let Some(key) = self.keys.read().get(kid) {
            return Some(key.clone());
        }
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
        if kid.is_empty() || kid.len() > MAX_KID || !kid.bytes().all(plain) {
            return None;
        }
        let _alone = self.reading.lock();
        if let Some(key) = self.keys.read().get(kid) {
            return Some(key.clone());
        }
        let key = Arc::new(Key::read(&directory::file(&self.directory, kid)).ok()?);
        self.keys.write().insert(kid.to_owned(), key.clone());
        Some(key)
    }

    /// What verifiers need.
    pub fn public(&self) -> PublicKeys {
        let keys = self.keys.read();
        PublicKeys {
            keys: keys
                .iter()
                .map(|(kid, k)| PublicKey { kid: kid.clone(), pem: k.public_pem.clone() })
                .collect(),
        }
    }

    /// The ids of all keys, in order.
    pub fn ids(&self) -> Vec<String> {
        self.keys.read().keys().cloned().collect()
    }

    /// A keyed digest of `secret`, in hex; the key lies beside the token keys.
    pub fn fingerprint(&self, secret: &str) -> Result<String> {
        let key = symmetric(&self.directory, "fingerprint.key")?;
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), secret.as_bytes());
        Ok(hex::encode(tag.as_ref()))
    }

    /// The key of [`Self::keyed_digest`](crate::secrets) and its id.
    pub(crate) fn secrets_key(&self) -> &(hmac::Key, String) {
        &self.secrets
    }
}

/// The content of a key file beside the token keys; made if there is none. Losing it makes void what it keyed.
fn symmetric(directory: &Path, name: &str) -> Result<Zeroizing<Vec<u8>>> {
    let path = directory.join(name);
    if !path.exists() {
        match write_secret(&path, random_hex(32)?.as_bytes()) {
            Err(_) if path.exists() => {} // a replica was faster
            done => done?,
        }
    }
    let key = Zeroizing::new(directory::read(&path)?.0.as_bytes().to_vec());
    if key.len() < 32 {
        return Err(failed(&path, "shorter than 32 bytes"));
    }
    Ok(key)
}

fn secrets_key(directory: &Path) -> Result<(hmac::Key, String)> {
    let key = symmetric(directory, "secrets.key")?;
    let id = hex::encode(&digest(&SHA256, &key).as_ref()[..4]);
    Ok((hmac::Key::new(hmac::HMAC_SHA256, &key), id))
}

impl Key {
    fn read(path: &Path) -> Result<Self> {
        let (text, made_at) = directory::read(path)?;
        let der = Zeroizing::new(from_pem(&text).ok_or_else(|| failed(path, "not a PEM private key"))?);
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &der)
            .map_err(|e| failed(path, &format!("not a P-256 PKCS#8 key: {e}")))?;
        let public: PublicKeyX509Der<'_> =
            pair.public_key().as_der().map_err(|_| failed(path, "no public key"))?;
        let public_pem = pem("PUBLIC KEY", public.as_ref());
        let signing = EncodingKey::from_ec_pem(text.as_bytes()).map_err(|e| failed(path, &e.to_string()))?;
        let verifying =
            DecodingKey::from_ec_pem(public_pem.as_bytes()).map_err(|e| failed(path, &e.to_string()))?;
        Ok(Self { made_at, signing, verifying, public_pem })
    }
}

fn failed(path: &Path, why: &str) -> Error {
    Error::internal(format!("token keys: {}: {why}", path.display()))
}

fn pem(label: &str, der: &[u8]) -> String {
    let body = STANDARD.encode(der);
    let mut out = format!("-----BEGIN {label}-----\n");
    for line in body.as_bytes().chunks(64) {
        out.push_str(&String::from_utf8_lossy(line));
        out.push('\n');
    }
    out + &format!("-----END {label}-----\n")
}

fn from_pem(text: &str) -> Option<Vec<u8>> {
    let body: String = text.lines().map(str::trim).filter(|l| !l.starts_with("-----")).collect();
    STANDARD.decode(body).ok()
}

/// `bytes` random bytes as hex.
pub fn random_hex(bytes: usize) -> Result<String> {
    let mut raw = vec![0u8; bytes];
    SystemRandom::new().fill(&mut raw).map_err(|_| Error::internal("no randomness"))?;
    Ok(hex::encode(raw))
}

/// Writes a new file of mode 0600 whole or not at all; fails if `path` exists.
pub fn write_secret(path: &Path, content: &[u8]) -> Result<()> {
    let directory = path.parent().unwrap_or(Path::new("."));
    let temporary = directory.join(format!(".new-{}", random_hex(8)?));
    let written = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&temporary)
        .and_then(|mut file| {
            file.write_all(content)?;
            directory::hand_over(directory, &file)?;
            file.sync_all()
        })
        .and_then(|()| std::fs::hard_link(&temporary, path));
    let _ = std::fs::remove_file(&temporary);
    written.map_err(|e| failed(path, &e.to_string()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use ferrostack_model::{DomainRef, ProjectRef};
    use std::{os::unix::fs::PermissionsExt, time::Duration};

    fn claims() -> TokenClaims {
        let dom = DomainRef { id: "0123456789abcdef0123456789abcdef".into(), name: "Default".into() };
        TokenClaims {
            sub: "0123456789abcdef0123456789abcdef".into(),
            name: "a-user-with-a-long-name@example.org".into(),
            dom: dom.clone(),
            iat_us: Timestamp::now(),
            exp_us: Timestamp::now().plus_seconds(3600),
            aud_ids: vec!["YV9SsTLqRj-HWiUgQ_35IA".into(), "5X2T3S7CQYGc6fhWjJtxww".into()],
            methods: vec!["token".into(), "password".into()],
            project: Some(ProjectRef { id: dom.id.clone(), name: "a-project-name".into(), domain: dom }),
            domain: None,
            system: false,
            roles: ["admin", "manager", "member", "reader", "service"].map(Into::into).into(),
            ..Default::default()
        }
    }

    #[test]
    fn signs_and_reads_back_in_a_short_header() {
        let dir = tempfile::tempdir().unwrap();
        let keys = Keys::open(dir.path(), 60).unwrap();
        let token = keys.sign(&claims()).unwrap();
        assert!(token.len() < 2048, "{}", token.len());
        assert!(token.bytes().all(|b| b.is_ascii_graphic()));
        assert_eq!(keys.read(&token).unwrap().sub, claims().sub);
        // One form only: no bit of it can change.
        for at in 0..token.len() {
            for bit in 0..8 {
                let mut bytes = token.clone().into_bytes();
                bytes[at] ^= 1 << bit;
                if let Ok(text) = String::from_utf8(bytes) {
                    assert!(keys.read(&text).is_none(), "byte {at} bit {bit}");
                }
            }
        }
        for other in [format!("{token}="), format!(" {token}"), format!("{token}\n"), token.replace('-', "+")]
        {
            assert!(other == token || keys.read(&other).is_none());
        }
        // The client library's verifier reads keys the same way.
        assert!(DecodingKey::from_ec_pem(keys.public().keys[0].pem.as_bytes()).is_ok());
        let again = Keys::open(dir.path(), 60).unwrap();
        assert!(again.read(&token).is_some());
        let mode = std::fs::metadata(dir.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        for entry in std::fs::read_dir(dir.path()).unwrap() {
            assert_eq!(entry.unwrap().metadata().unwrap().permissions().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn a_bad_file_keeps_no_good_key_out() {
        let dir = tempfile::tempdir().unwrap();
        let keys = Keys::open(dir.path(), 60).unwrap();
        let token = keys.sign(&claims()).unwrap();
        write_secret(&dir.path().join("00-bad.pem"), b"no key").unwrap();
        let second = Keys::open(dir.path(), 60).err().map(|e| e.for_log().to_string());
        assert!(second.unwrap().contains("00-bad.pem"));
        let kid = keys.generate().unwrap();
        assert!(keys.reload().unwrap_err().for_log().to_string().contains("00-bad.pem"));
        assert!(keys.ids().contains(&kid) && keys.read(&token).is_some());
        // Ids that are no names of files of ours are not looked for.
        for kid in ["../x", "a/b", "", "fingerprint.key", "a.b"] {
            assert!(keys.find(kid).is_none());
        }
        std::fs::remove_file(dir.path().join("00-bad.pem")).unwrap();
        keys.reload().unwrap();
        std::fs::remove_file(directory::file(dir.path(), &kid)).unwrap();
        keys.reload().unwrap();
        assert!(!keys.has(&kid));
    }

    fn signer(keys: &Keys) -> String {
        jsonwebtoken::decode_header(keys.sign(&claims()).unwrap()).unwrap().kid.unwrap()
    }

    /// Makes a key look `seconds` old.
    fn age(dir: &Path, kid: &str, seconds: u64) {
        let file = std::fs::File::open(dir.join(format!("{kid}.pem"))).unwrap();
        file.set_modified(std::time::SystemTime::now() - Duration::from_secs(seconds)).unwrap();
    }

    #[test]
    fn a_new_key_verifies_at_once_and_signs_later() {
        let dir = tempfile::tempdir().unwrap();
        let keys = Keys::open(dir.path(), 60).unwrap();
        let first = keys.public().keys[0].kid.clone();
        age(dir.path(), &first, 10);
        // Made by a replica: found when its first token comes.
        let replica = Keys::open(dir.path(), 60).unwrap();
        let second = replica.generate().unwrap();
        replica.reload().unwrap();
        assert_eq!(signer(&replica), first);
        age(dir.path(), &second, 70);
        replica.reload().unwrap();
        assert_eq!(signer(&replica), second);
        assert_eq!(keys.public().keys.len(), 1);
        assert!(keys.read(&replica.sign(&claims()).unwrap()).is_some());
        assert_eq!(keys.public().keys.len(), 2);
        // Two that are old enough: the newer one. The old one still verifies until it is taken away.
        age(dir.path(), &first, 100);
        keys.reload().unwrap();
        assert_eq!(signer(&keys), second);
        let token = keys.sign(&claims()).unwrap();
        std::fs::remove_file(dir.path().join(format!("{second}.pem"))).unwrap();
        keys.reload().unwrap();
        assert!(keys.read(&token).is_none());
        assert!(keys.read("a.b.c").is_none() && keys.read("").is_none());
    }

    #[test]
    fn fingerprints_tell_passwords_apart() {
        let dir = tempfile::tempdir().unwrap();
        let keys = Keys::open(dir.path(), 60).unwrap();
        assert_eq!(keys.fingerprint("x").unwrap(), keys.fingerprint("x").unwrap());
        assert_ne!(keys.fingerprint("x").unwrap(), keys.fingerprint("y").unwrap());
        let other = tempfile::tempdir().unwrap();
        assert_ne!(
            keys.fingerprint("x").unwrap(),
            Keys::open(other.path(), 60).unwrap().fingerprint("x").unwrap()
        );
    }

    #[test]
    fn a_bad_key_file_is_named() {
        let dir = tempfile::tempdir().unwrap();
        write_secret(&dir.path().join("bad.pem"), b"no key").unwrap();
        let error = Keys::open(dir.path(), 60).err().unwrap();
        assert!(error.for_log().contains("bad.pem") && !error.public.contains("bad.pem"));
    }
}
