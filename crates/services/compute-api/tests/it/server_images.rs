//! What of an image decides whether a server can be made of it, and what its agent is told.

use crate::{
    jobs::until,
    servers::{becomes, each, make, up, wish},
    world::{IMAGE, KERNEL, World},
};
use serde_json::{Value, json};

const ODD: &str = "abcdefab-0000-4000-8000-00000000000";

/// An image with these members; its id.
fn image(world: &World, n: u8, members: Value) -> String {
    let id = format!("{ODD}{n}");
    world.state.lock().odd_images.insert(id.clone(), members);
    id
}

#[actix_web::test]
async fn images_that_cannot_be_booted_are_refused_before_anything_is_made() {
    each(async |cloud, world| {
        let member = cloud.at("member", 94);
        let gib = 1u64 << 30;
        let cases = [
            (json!({"status": "queued"}), "Image ID is not active."),
            (json!({"status": "deactivated"}), "Image ID is not active."),
            (json!({"status": "importing"}), "Image ID is not active."),
            (json!({"status": "killed"}), "Image ID is not active."),
            (json!({"container_format": "ova"}), "Image ID is unacceptable: Booting from container format ova is unsupported."),
            (json!({"container_format": "ovf"}), "container format ovf"),
            (json!({"container_format": "docker"}), "container format docker"),
            (json!({"container_format": "compressed"}), "container format compressed"),
            (json!({"container_format": null}), "container format  is unsupported"),
            (json!({"container_format": "aki", "disk_format": "aki"}), "container format aki"),
            (json!({"container_format": "ami", "disk_format": "ari"}), "A kernel or ramdisk is no disk."),
            (json!({"cinder_encryption_key_id": "k"}),
                "Image ID is unacceptable: Direct booting of an image uploaded from an encrypted volume is unsupported."),
            (json!({"min_ram": 513}), "Flavor's memory is too small for requested image."),
            (json!({"min_disk": 11}), "Flavor's disk is smaller than the minimum size specified in image metadata. Flavor disk is 10737418240 bytes, minimum size is 11811160064 bytes."),
            (json!({"size": 10 * gib + 1}), "Flavor's disk is too small for requested image. Flavor disk is 10737418240 bytes, image is 10737418241 bytes."),
            (json!({"img_config_drive": "maybe"}), "Image's config drive option 'maybe' is invalid"),
            (json!({"hw_disk_bus": "floppy"}), "Invalid image metadata. Error: Field value floppy is invalid"),
            (json!({"os_type": "cp/m"}), "Invalid image metadata. Error: Field value cp/m is invalid"),
            (json!({"hw_cpu_cores": "x"}), "Invalid image metadata. Error: invalid literal for int() with base 10: 'x'"),
            (json!({"architecture": "vax"}), "Invalid image metadata. Error: Architecture name 'vax' is not valid"),
            (json!({"hw_tpm_version": "1.2", "hw_tpm_model": "tpm-crb"}), "TPM model CRB is only valid with TPM version 2.0."),
            (json!({"kernel_id": "../../etc/passwd"}), "Invalid kernel_id of image ID."),
            (json!({"kernel_id": "99999999-9999-4999-8999-999999999999"}), "Image 99999999-9999-4999-8999-999999999999 could not be found."),
            (json!({"ramdisk_id": format!("{ODD}9")}), "is not active."),
        ];
        world.state.lock().odd_images.insert(format!("{ODD}9"), json!({"status": "deleted"}));
        for (members, text) in cases {
            let id = image(world, 1, members.clone());
            let said = member.post("/servers", wish(json!({"imageRef": id}))).await.fault(400);
            let text = text.replace("ID", &id);
            assert!(said == text || (!text.starts_with("Image ") && said.contains(&text)) || said.ends_with(&text),
                "{members}: {said}");
        }
        assert_eq!(member.get("/servers").await.expect(200)["servers"], json!([]));
        assert!(world.state.lock().orders.is_empty());
    })
    .await;
}

/// OSSA-2013-012: a small file with a giant disk inside.
#[actix_web::test]
async fn ossa_2013_012_the_disk_inside_must_fit_the_flavor() {
    each(async |cloud, world| {
        let member = cloud.at("member", 94);
        for inside in [(10u64 << 30) + 1, 100 << 30, 1 << 46, i64::MAX as u64, u64::MAX] {
            let id = image(world, 2, json!({"size": 1000, "virtual_size": inside}));
            let said = member.post("/servers", wish(json!({"imageRef": id}))).await.fault(400);
            assert!(said.starts_with("Flavor's disk is too small for requested image."), "{inside}: {said}");
        }
        let fits = image(world, 2, json!({"size": 1000, "virtual_size": 10u64 << 30}));
        up(member, json!({"imageRef": fits})).await;
    })
    .await;
}

/// LP 1739646: a flavor without a disk leaves the size to whoever made the image.
#[actix_web::test]
async fn x30_a_flavor_without_a_disk_is_for_admins() {
    each(async |cloud, world| {
        let admin = cloud.at("admin", 94);
        let flavor = json!({"flavor": {"id": "f0", "name": "m1.none", "ram": 512, "vcpus": 1, "disk": 0}});
        admin.post("/flavors", flavor).await.expect(200);
        let id = image(world, 3, json!({"size": 1u64 << 50, "virtual_size": 1u64 << 60}));
        let body = json!({"imageRef": id, "flavorRef": "f0"});
        let said = cloud.at("member", 94).post("/servers", wish(body.clone())).await.fault(403);
        assert_eq!(said, "Only volume-backed servers are allowed for flavors with zero disk.");
        assert!(world.state.lock().orders.is_empty());
        make(admin, body).await;
    })
    .await;
}

/// OSSA-2013-037: a property never names anything on a host.
#[actix_web::test]
async fn ossa_2013_037_os_type_is_one_of_two() {
    each(async |cloud, world| {
        let member = cloud.at("member", 94);
        for n in 0..200 {
            let id = image(world, 4, json!({"os_type": format!("os-{n}/../../x")}));
            let said = member.post("/servers", wish(json!({"imageRef": id}))).await.fault(400);
            assert!(said.contains("Field value os-"), "{said}");
        }
        for os in ["linux", "windows", "Windows"] {
            let id = image(world, 4, json!({"os_type": os}));
            up(member, json!({"imageRef": id})).await;
        }
    })
    .await;
}

#[actix_web::test]
async fn the_agent_gets_the_properties_and_the_parts_of_the_image() {
    each(async |cloud, world| {
        let member = cloud.at("member", 96);
        let ramdisk = image(world, 6, json!({"disk_format": "ari", "container_format": "ari"}));
        let id = image(world, 5, json!({
            "os_type": "windows", "os_distro": "win", "os_version": "11", "hw_vif_model": "e1000", "hw_cpu_cores": "1",
            "kernel_id": KERNEL, "ramdisk_id": ramdisk, "img_config_drive": "mandatory", "container_format": "ami",
            "disk_format": "ami", "my_own": "x", "mappings": "[{\"virtual\": \"ami\", \"device\": \"../x\"}]",
            "block_device_mapping": "not even JSON", "root_device_name": "/dev/sda1",
        }));
        let server = up(member, json!({"imageRef": id})).await;
        let spec = world.state.lock().specs[&server].clone();
        assert_eq!(spec.image.properties["os_type"], "windows");
        assert_eq!(spec.image.properties["os_version"], "11");
        assert_eq!(spec.image.disk_format, "ami");
        assert_eq!(spec.image.sha512, "ab");
        assert_eq!((spec.kernel.unwrap().id.as_str(), spec.ramdisk.unwrap().id), (KERNEL, ramdisk));
        assert!(spec.config_drive, "the image insists on one");
        // A kernel that no memory of this flavor holds is not even fetched.
        let huge = image(world, 7, json!({"size": 1u64 << 40, "disk_format": "aki", "container_format": "aki"}));
        let id = image(world, 8, json!({"kernel_id": huge}));
        let said = member.post("/servers", wish(json!({"imageRef": id}))).await.fault(400);
        assert_eq!(said, "Flavor's memory is too small for requested image.");
    })
    .await;
}

/// What the image says after the build has begun changes nothing: the server keeps what it was made of.
#[actix_web::test]
async fn an_image_that_changes_later_changes_no_server() {
    each(async |cloud, world| {
        let member = cloud.at("member", 96);
        let id = image(world, 1, json!({"hw_vif_model": "e1000", "os_hash_value": "aa"}));
        let server = up(member, json!({"imageRef": id})).await;
        image(world, 1, json!({"hw_vif_model": "rtl8139", "os_hash_value": "bb", "status": "deleted"}));
        member
            .post(&format!("/servers/{server}/action"), json!({"reboot": {"type": "HARD"}}))
            .await
            .expect(202);
        becomes(member, &server, "ACTIVE").await;
        let spec = until("spec", async || world.state.lock().specs.get(&server).cloned()).await;
        assert_eq!(
            (spec.image.properties["hw_vif_model"].as_str(), spec.image.sha512.as_str()),
            ("e1000", "aa")
        );
        assert_eq!(member.get(&format!("/servers/{server}")).await.expect(200)["server"]["image"]["id"], id);
        let said = member.post("/servers", wish(json!({"imageRef": id}))).await.fault(400);
        assert!(said.ends_with("is not active."), "{said}");
        assert_ne!(id, IMAGE);
    })
    .await;
}
