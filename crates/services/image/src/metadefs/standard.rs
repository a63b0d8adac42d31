//! The standard definitions that come with the service: names that OpenStack's clients, schedulers and drivers know.

use super::check;
use crate::store::metadefs::standard::{Definition, load};
use ferrostack_db::Db;
use ferrostack_model::{Error, Result, Timestamp};

/// The owner of what comes with the service, as with Glance.
const OWNER: &str = "admin";

/// The data files, by name.
pub const FILES: &[(&str, &str)] = &[
    ("compute-aggr-disk-filter.json", include_str!("../../metadefs/compute-aggr-disk-filter.json")),
    ("compute-aggr-iops-filter.json", include_str!("../../metadefs/compute-aggr-iops-filter.json")),
    ("compute-aggr-num-instances.json", include_str!("../../metadefs/compute-aggr-num-instances.json")),
    ("compute-cpu-mode.json", include_str!("../../metadefs/compute-cpu-mode.json")),
    ("compute-cpu-pinning.json", include_str!("../../metadefs/compute-cpu-pinning.json")),
    ("compute-guest-memory-backing.json", include_str!("../../metadefs/compute-guest-memory-backing.json")),
    ("compute-guest-shutdown.json", include_str!("../../metadefs/compute-guest-shutdown.json")),
    ("compute-host-capabilities.json", include_str!("../../metadefs/compute-host-capabilities.json")),
    ("compute-hypervisor.json", include_str!("../../metadefs/compute-hypervisor.json")),
    ("compute-instance-data.json", include_str!("../../metadefs/compute-instance-data.json")),
    ("compute-libvirt-image.json", include_str!("../../metadefs/compute-libvirt-image.json")),
    ("compute-libvirt.json", include_str!("../../metadefs/compute-libvirt.json")),
    ("compute-quota.json", include_str!("../../metadefs/compute-quota.json")),
    ("compute-randomgen.json", include_str!("../../metadefs/compute-randomgen.json")),
    ("compute-vcputopology.json", include_str!("../../metadefs/compute-vcputopology.json")),
    ("compute-vtpm-hw.json", include_str!("../../metadefs/compute-vtpm-hw.json")),
    ("compute-vtpm.json", include_str!("../../metadefs/compute-vtpm.json")),
    ("compute-watchdog.json", include_str!("../../metadefs/compute-watchdog.json")),
    ("glance-common-image-props.json", include_str!("../../metadefs/glance-common-image-props.json")),
    ("image-signature-verification.json", include_str!("../../metadefs/image-signature-verification.json")),
    ("operating-system.json", include_str!("../../metadefs/operating-system.json")),
    ("software-databases.json", include_str!("../../metadefs/software-databases.json")),
    ("software-runtimes.json", include_str!("../../metadefs/software-runtimes.json")),
    ("software-webservers.json", include_str!("../../metadefs/software-webservers.json")),
    ("storage-volume-type.json", include_str!("../../metadefs/storage-volume-type.json")),
];

/// Puts in what was never put in before.
pub async fn bootstrap(db: &Db) -> Result<()> {
    load(db, &definitions()?).await
}

/// The data files as definitions.
pub fn definitions() -> Result<Vec<Definition>> {
    let now = Timestamp::now();
    let read = |(i, (file, text)): (usize, &(&str, &str))| -> Result<Definition> {
        let of = |e: String| Error::internal(format!("standard definitions {file}: {e}"));
        let body = serde_json::from_str(text).map_err(|e| of(e.to_string()))?;
        // A microsecond apart, so that lists have an order.
        let at = Timestamp(now.0 + i64::try_from(i).unwrap_or(0));
        check::namespace(&body, OWNER, at).map_err(|e| of(e.public))
    };
    FILES.iter().enumerate().map(read).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::metadefs::Visibility;
    use std::collections::HashSet;

    #[test]
    fn every_file_fits_the_schemas() {
        let mut names = HashSet::new();
        for (namespace, contents) in definitions().unwrap() {
            let name = &namespace.name;
            assert!(names.insert(name.clone()), "{name} twice");
            assert_eq!(namespace.visibility, Visibility::Public, "{name}");
            assert!(namespace.protected, "{name}");
            assert!(namespace.display_name.is_some() && namespace.description.is_some(), "{name}");
            let properties = contents.properties.iter().map(|p| &p.schema);
            let of_objects = contents.objects.iter().flat_map(|o| o.properties.values());
            let mut count = 0;
            for property in properties.chain(of_objects.filter_map(|p| p.as_object())) {
                count += 1;
                assert!(
                    property["description"].as_str().is_some_and(|d| d.len() > 10),
                    "{name}: {property:?}"
                );
            }
            assert!(count > 0, "{name}");
            for object in &contents.objects {
                for required in &object.required {
                    assert!(object.properties.contains_key(required), "{name}: {required}");
                }
            }
        }
        assert_eq!(names.len(), FILES.len());
    }

    #[test]
    fn every_file_is_in_the_list() {
        let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/metadefs");
        let mut there: Vec<_> = std::fs::read_dir(directory)
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        there.sort();
        assert_eq!(there, FILES.iter().map(|(name, _)| *name).collect::<Vec<_>>());
    }
}
