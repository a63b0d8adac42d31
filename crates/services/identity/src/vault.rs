//! Credential blobs at rest: AES-256-GCM with keys that lie beside the token keys.
//!
//! A key is a file `credential-NAME.key` of 64 hex digits; the first is made at the first start. Replicas share
//! the directory, or its contents. Stored form: `v1.NAME.BASE64(nonce, ciphertext, tag)`. The newest key that is
//! old enough for all replicas to know it seals, every key opens: to change keys, add one, and keep the old one as
//! long as a blob names it. Without its key a blob is lost.
//!
//! EC2 secrets are among these blobs, and not kept as a digest like other secrets of ours: a signature can only be
//! checked with the secret itself.

use crate::keys::{random_hex, write_secret};
use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
use ferrostack_model::{Error, Result, Timestamp};
use parking_lot::{Mutex, RwLock};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant, UNIX_EPOCH},
};
use zeroize::Zeroizing;

/// Seconds a key is there before it seals, so that every replica has it by then.
const MATURE_AFTER: i64 = 60;
/// Least time between two looks for an unknown key.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
const FORM: &str = "v1";

/// Seals and opens.
pub struct Vault {
    directory: PathBuf,
    keys: RwLock<BTreeMap<String, Key>>,
    /// When an unknown key last made us read the directory.
    looked: Mutex<Option<Instant>>,
}

#[derive(Clone)]
struct Key {
    made_at: Timestamp,
    key: Arc<RandomizedNonceKey>,
}

impl Vault {
    /// Reads the keys of `directory`, which exists; makes one if there is none.
    pub fn open_keys(directory: &Path) -> Result<Self> {
        let vault =
            Self { directory: directory.to_owned(), keys: RwLock::default(), looked: Mutex::new(None) };
        vault.reload()?;
        if vault.keys.read().is_empty() {
            let name = format!("{:010x}-{}", Timestamp::now().seconds(), random_hex(4)?);
            let text = Zeroizing::new(random_hex(32)?);
            write_secret(&directory.join(format!("credential-{name}.key")), text.as_bytes())?;
            vault.reload()?;
        }
        Ok(vault)
    }

    /// Reads the directory again: keys that replicas or the operator added or took away.
    pub fn reload(&self) -> Result<()> {
        let mut found = BTreeMap::new();
        let entries =
            std::fs::read_dir(&self.directory).map_err(|e| failed(&self.directory, &e.to_string()))?;
        for entry in entries {
            let path = entry.map_err(|e| failed(&self.directory, &e.to_string()))?.path();
            let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
            if let Some(kid) = name.strip_prefix("credential-").and_then(|n| n.strip_suffix(".key"))
                && !kid.contains('.')
            {
                found.insert(kid.to_owned(), Key::read(&path)?);
            }
        }
        *self.keys.write() = found;
        Ok(())
    }

    /// What to store for `text`. It only opens with the same `context`, so that blobs cannot be put elsewhere.
    pub fn seal(&self, context: &str, text: &str) -> Result<String> {
        let mature = Timestamp::now().plus_seconds(-MATURE_AFTER);
        let (kid, key) = {
            let keys = self.keys.read();
            let by_age = |(kid, key): &(&String, &Key)| (key.made_at, (*kid).clone());
            keys.iter()
                .filter(|(_, k)| k.made_at <= mature)
                .max_by_key(by_age)
                .or_else(|| keys.iter().min_by_key(by_age))
                .map(|(kid, key)| (kid.clone(), key.clone()))
                .ok_or_else(|| Error::internal("no credential key"))?
        };
        let mut sealed = Zeroizing::new(text.as_bytes().to_vec());
        let nonce = key
            .key
            .seal_in_place_append_tag(Aad::from(context.as_bytes()), &mut *sealed)
            .map_err(|_| Error::internal("a credential cannot be encrypted"))?;
        let mut raw = nonce.as_ref().to_vec();
        raw.extend_from_slice(&sealed);
        Ok(format!("{FORM}.{kid}.{}", STANDARD_NO_PAD.encode(raw)))
    }

    /// What [`Self::seal`] made `stored` of. 500 with the reason in the log if the key is gone, or the blob or its
    /// row was tampered with.
    pub fn open(&self, context: &str, stored: &str) -> Result<Zeroizing<String>> {
        let broken = || Error::internal("a stored credential cannot be decrypted");
        let mut parts = stored.split('.');
        let (Some(FORM), Some(kid), Some(body), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(broken());
        };
        let key = self.key(kid).ok_or_else(|| {
            Error::internal(format!(
                "credential-{kid}.key, with which a credential was encrypted, is missing"
            ))
        })?;
        let mut raw = Zeroizing::new(STANDARD_NO_PAD.decode(body).map_err(|_| broken())?);
        if raw.len() < NONCE_LEN {
            return Err(broken());
        }
        let (nonce, sealed) = raw.split_at_mut(NONCE_LEN);
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| broken())?;
        let plain =
            key.key.open_in_place(nonce, Aad::from(context.as_bytes()), sealed).map_err(|_| broken())?;
        std::str::from_utf8(plain).map(|text| Zeroizing::new(text.to_owned())).map_err(|_| broken())
    }

    /// The key; a replica may have made it since we looked, but not more often than once a second.
    fn key(&self, kid: &str) -> Option<Key> {
        if let Some(key) = self.keys.read().get(kid) {
            return Some(key.clone());
        }
        {
            let mut looked = self.looked.lock();
            if looked.is_some_and(|at| at.elapsed() < LOOK_AGAIN) {
                return None;
            }
            *looked = Some(Instant::now());
        }
        if let Err(error) = self.reload() {
            tracing::error!(error = error.for_log(), "credential keys not read again");
        }
        self.keys.read().get(kid).cloned()
    }
}

impl Key {
    fn read(path: &Path) -> Result<Self> {
        let text = Zeroizing::new(std::fs::read_to_string(path).map_err(|e| failed(path, &e.to_string()))?);
        let raw = Zeroizing::new(hex::decode(text.trim()).map_err(|_| failed(path, "not 64 hex digits"))?);
        let key =
            RandomizedNonceKey::new(&AES_256_GCM, &raw).map_err(|_| failed(path, "not 64 hex digits"))?;
        let modified = std::fs::metadata(path)
            .and_then(|m| m.modified())
            .map_err(|e| failed(path, &e.to_string()))?
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let made_at = Timestamp(i64::try_from(modified.as_micros()).unwrap_or(i64::MAX));
        Ok(Self { made_at, key: Arc::new(key) })
    }
}

fn failed(path: &Path, why: &str) -> Error {
    Error::internal(format!("credential keys: {}: {why}", path.display()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::os::unix::fs::PermissionsExt;

    fn age(dir: &Path, kid: &str, seconds: u64) {
        let file = std::fs::File::open(dir.join(format!("credential-{kid}.key"))).unwrap();
        file.set_modified(std::time::SystemTime::now() - Duration::from_secs(seconds)).unwrap();
    }

    #[test]
    fn opens_what_it_sealed_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let vault = Vault::open_keys(dir.path()).unwrap();
        let stored = vault.seal("a", "hunter2").unwrap();
        assert!(!stored.contains("hunter2") && stored != vault.seal("a", "hunter2").unwrap());
        assert_eq!(*vault.open("a", &stored).unwrap(), "hunter2");
        let error = vault.open("b", &stored).unwrap_err();
        assert_eq!(error.kind.http(), 500);
        assert!(!error.for_log().contains("hunter2"));
        for at in 0..stored.len() {
            let mut bytes = stored.clone().into_bytes();
            bytes[at] ^= 1;
            if let Ok(text) = String::from_utf8(bytes) {
                assert!(vault.open("a", &text).is_err(), "byte {at}");
            }
        }
        for bad in ["", "v1", "v1.x.y", "v1..", "hunter2", "v2.a.b"] {
            assert!(vault.open("a", bad).is_err(), "{bad}");
        }
        let file = std::fs::read_dir(dir.path()).unwrap().next().unwrap().unwrap();
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        // Another key of the same name.
        std::fs::write(file.path(), "00".repeat(32)).unwrap();
        assert!(Vault::open_keys(dir.path()).unwrap().open("a", &stored).is_err());
    }

    #[test]
    fn keys_can_be_added_and_replicas_find_them() {
        let dir = tempfile::tempdir().unwrap();
        let vault = Vault::open_keys(dir.path()).unwrap();
        let first = vault.keys.read().keys().next().unwrap().clone();
        age(dir.path(), &first, 100);
        let old = vault.seal("a", "x").unwrap();
        std::fs::write(dir.path().join("credential-new.key"), "ab".repeat(32)).unwrap();
        let replica = Vault::open_keys(dir.path()).unwrap();
        assert!(replica.seal("a", "x").unwrap().starts_with(&format!("v1.{first}.")), "too young to seal");
        age(dir.path(), "new", 70);
        replica.reload().unwrap();
        let new = replica.seal("a", "x").unwrap();
        assert!(new.starts_with("v1.new."));
        assert_eq!(vault.keys.read().len(), 1);
        assert_eq!(*vault.open("a", &new).unwrap(), "x");
        assert_eq!(*replica.open("a", &old).unwrap(), "x");
        std::fs::remove_file(dir.path().join("credential-new.key")).unwrap();
        vault.reload().unwrap();
        let error = vault.open("a", &new).unwrap_err();
        assert!(error.for_log().contains("credential-new.key") && !error.public.contains("new"));
    }

    #[test]
    fn a_bad_key_file_is_named() {
        let dir = tempfile::tempdir().unwrap();
        for bad in ["", "xy", &"ab".repeat(31)] {
            std::fs::write(dir.path().join("credential-bad.key"), bad).unwrap();
            let error = Vault::open_keys(dir.path()).err().unwrap();
            assert!(error.for_log().contains("credential-bad.key") && !error.public.contains("bad"));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_text_comes_back(text in ".{0,300}", context in ".{0,30}") {
            let dir = tempfile::tempdir().unwrap();
            let vault = Vault::open_keys(dir.path()).unwrap();
            prop_assert_eq!(&*vault.open(&context, &vault.seal(&context, &text).unwrap()).unwrap(), &text);
        }
        #[test]
        fn rubbish_is_refused(text in ".{0,80}") {
            let dir = tempfile::tempdir().unwrap();
            prop_assert!(Vault::open_keys(dir.path()).unwrap().open("a", &text).is_err());
        }
    }
}
