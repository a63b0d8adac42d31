//! The config drive: a vfat image labelled `config-2` with the metadata trees.

use super::file_error;
use crate::view::{self, ec2, network_data::network_data, openstack};
use base64::{Engine, engine::general_purpose::STANDARD};
use fatfs::{FileSystem, FormatVolumeOptions, FsOptions};
use ferrostack_model::{Error, Result, guest::GuestSpec};
use rand::RngCore;
use serde_json::{Value, json};
use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

/// Size of the image as in Nova; sparse.
const BYTES: u64 = 64 << 20;
/// What cloud-init looks for.
const LABEL: [u8; 11] = *b"config-2   ";
/// The EC2 directories.
const EC2_VERSIONS: [&str; 2] = ["2009-04-04", "latest"];

/// A base64 seed of 512 random bytes.
pub fn random_seed() -> String {
    let mut seed = [0; 512];
    rand::rng().fill_bytes(&mut seed);
    STANDARD.encode(seed)
}

/// Writes the config drive of `spec` to `to`; a running guest keeps what it has until it is started anew.
pub fn write(spec: &GuestSpec, to: &Path) -> Result<()> {
    let files = files(spec, &random_seed())?;
    let new = to.with_extension("new");
    make(&files, &new).map_err(|e| file_error(&new, e))?;
    fs::rename(&new, to).map_err(|e| file_error(to, e))
}

/// Every file on the drive: path and content.
fn files(spec: &GuestSpec, random_seed: &str) -> Result<Vec<(String, Vec<u8>)>> {
    let mut files = Vec::new();
    let mut index = Vec::new();
    for (i, injected) in spec.personality.iter().enumerate() {
        let bare: String = injected.contents.chars().filter(|c| !c.is_ascii_whitespace()).collect();
        let content = STANDARD.decode(bare).map_err(|_| {
            Error::bad_request(format!("Personality content for {} is not base64.", injected.path))
        })?;
        let path = format!("/content/{i:04}");
        index.push(json!({"path": injected.path, "content_path": path}));
        files.push((format!("openstack{path}"), content));
    }
    let user_data = view::user_data(spec);
    let encode = |value: &Value| value.to_string().into_bytes();
    for name in openstack::VERSIONS.iter().copied().chain(["latest"]) {
        let Some(version) = openstack::Version::parse(name) else { continue };
        let mut meta = openstack::meta_data(spec, version, random_seed);
        if !index.is_empty() {
            meta.insert("files".into(), json!(index));
        }
        if let Some(password) = &spec.admin_pass {
            meta.insert("admin_pass".into(), json!(password.0));
        }
        let mut put =
            |file: &str, content: Vec<u8>| files.push((format!("openstack/{name}/{file}"), content));
        put("meta_data.json", encode(&Value::Object(meta)));
        if let Some(data) = &user_data {
            put("user_data", data.clone());
        }
        if version.has_vendor_data() {
            put("vendor_data.json", encode(&openstack::vendor_data()));
        }
        if version.has_vendor_data2() {
            put("vendor_data2.json", encode(&openstack::vendor_data2()));
        }
        if version.has_network_data() {
            put("network_data.json", encode(&network_data(spec)));
        }
    }
    for name in EC2_VERSIONS {
        let Some(version) = ec2::version(name) else { continue };
        files.push((format!("ec2/{name}/meta-data.json"), encode(&ec2::meta_data(spec, version))));
        if let Some(data) = &user_data {
            files.push((format!("ec2/{name}/user-data"), data.clone()));
        }
    }
    Ok(files)
}

fn make(files: &[(String, Vec<u8>)], path: &Path) -> io::Result<()> {
    // It holds passwords. libvirt hands it to QEMU's user when the guest starts.
    let file =
        OpenOptions::new().read(true).write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.set_len(BYTES)?;
    fatfs::format_volume(&file, FormatVolumeOptions::new().volume_label(LABEL))?;
    let volume = FileSystem::new(&file, FsOptions::new())?;
    for (name, content) in files {
        let mut at = volume.root_dir();
        let mut rest = name.as_str();
        while let Some((directory, below)) = rest.split_once('/') {
            // Opens it if it is there.
            at = at.create_dir(directory)?;
            rest = below;
        }
        at.create_file(rest)?.write_all(content)?;
    }
    volume.unmount()?;
    file.sync_all()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use ferrostack_hypervisor::fake::sample_guest;
    use ferrostack_model::{auth::Secret, guest::Personality};
    use std::io::Read;

    #[test]
    fn reads_back_as_a_vfat_labelled_config_2() {
        let mut spec = sample_guest("6f70656e-7374-4163-8b00-000000000001", 1).spec;
        spec.user_data = Some(STANDARD.encode("#!/bin/sh\necho hello\n"));
        spec.admin_pass = Some(Secret("s3cret".into()));
        spec.personality = vec![Personality { path: "/etc/motd".into(), contents: STANDARD.encode("hi\n") }];
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("drive.img");
        for _ in 0..2 {
            write(&spec, &path).unwrap();
        }
        let volume = FileSystem::new(
            fs::File::options().read(true).write(true).open(&path).unwrap(),
            FsOptions::new(),
        )
        .unwrap();
        assert_eq!(volume.read_volume_label_from_root_dir().unwrap().unwrap(), "config-2");
        let read = |name: &str| {
            let mut content = Vec::new();
            volume.root_dir().open_file(name).unwrap().read_to_end(&mut content).unwrap();
            content
        };
        let meta: Value = serde_json::from_slice(&read("openstack/latest/meta_data.json")).unwrap();
        assert_eq!(meta["uuid"], spec.server_id);
        assert_eq!(meta["admin_pass"], "s3cret");
        assert_eq!(meta["files"], json!([{"path": "/etc/motd", "content_path": "/content/0000"}]));
        assert_eq!(read("openstack/content/0000"), b"hi\n");
        assert_eq!(read("openstack/latest/user_data"), b"#!/bin/sh\necho hello\n");
        assert_eq!(read("ec2/latest/user-data"), b"#!/bin/sh\necho hello\n");
        assert!(volume.root_dir().open_file("openstack/2012-08-10/network_data.json").is_err());
        assert!(volume.root_dir().open_file("openstack/2018-08-27/network_data.json").is_ok());
        let blocks = std::os::unix::fs::MetadataExt::blocks(&fs::metadata(&path).unwrap());
        assert!(blocks * 512 < 4 << 20, "the image is not sparse: {blocks} blocks");
    }

    #[test]
    fn a_file_that_is_not_base64_is_named() {
        let mut spec = sample_guest("6f70656e-7374-4163-8b00-000000000001", 1).spec;
        spec.personality = vec![Personality { path: "/etc/motd".into(), contents: "*".into() }];
        let error = write(&spec, Path::new("/nonexistent/x.img")).unwrap_err();
        assert!(error.public.contains("/etc/motd"), "{}", error.public);
    }
}
