//! Where what is known of a device is kept for the plugins of one attachment (Network Plumbing Working Group, "Device
//! Information Specification" 1.1.0, section 3): the device plugin writes a file, a copy of it is the attachment's own,
//! which its plugins may complete, and which goes with the attachment.

use std::path::{Path, PathBuf};

use crate::model::{Attachment, Device, Owner};

/// Longest name of a file (Linux `NAME_MAX`), in bytes.
const NAME_MAX: usize = 255;

/// The file of an attachment. Readers know its name: label, sandbox and interface.
pub fn of_attachment(folder: &Path, label: &str, owner: &Owner) -> PathBuf {
    let whole = flat(&format!("{label}-{}_{}", owner.container, owner.ifname));
    // Namespace, network and sandbox together may be too long for a name; sandbox and interface alone never are.
    let name = if whole.len() > NAME_MAX { format!("{}_{}", owner.container, owner.ifname) } else { whole };
    folder.join("cni").join(name)
}

/// The file that the device plugin wrote of a device, if it is of a resource.
pub fn of_device(attachment_file: &Path, device: &Device) -> Option<PathBuf> {
    let folder = attachment_file.parent()?.parent()?;
    let name = flat(&format!("{}-{}-device.json", device.resource.as_ref()?, device.id));
    Some(folder.join("dp").join(name)).filter(|_| name_fits(device))
}

/// Whether an attachment's plugins are to be told of their device through a file: one that is run asks for it.
pub fn is_wanted(attachment: &Attachment) -> bool {
    attachment.network.plugins.iter().any(|plugin| plugin.wants("CNIDeviceInfoFile"))
}

/// The name as one component of a path.
fn flat(name: &str) -> String {
    name.replace('/', "-")
}

/// Two names of at most 128 bytes each and what is between them may be longer than a name of a file.
fn name_fits(device: &Device) -> bool {
    let resource = device.resource.as_ref().map_or(0, |resource| resource.as_str().len());
    resource + device.id.as_str().len() + "--device.json".len() <= NAME_MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(container: &str) -> Owner {
        Owner::parse(container, "net1").unwrap()
    }

    #[test]
    fn files_have_the_names_that_others_look_for() {
        let file = of_attachment(Path::new("/d"), "shop/fast", &owner("c1"));
        let device = Device {
            id: "0000:03:02.1".parse().unwrap(),
            resource: Some("intel.com/sriov_net_A".parse().unwrap()),
        };

        assert_eq!(file, Path::new("/d/cni/shop-fast-c1_net1"));
        let written = of_device(&file, &device).unwrap();
        assert_eq!(written, Path::new("/d/dp/intel.com-sriov_net_A-0000:03:02.1-device.json"));
    }

    #[test]
    fn no_name_leaves_its_folder_or_is_too_long() {
        let long = format!("{}/{}", "n".repeat(63), "d".repeat(253));
        let file = of_attachment(Path::new("/d"), &long, &owner(&"c".repeat(64)));
        assert_eq!(file, PathBuf::from(format!("/d/cni/{}_net1", "c".repeat(64))));

        let file = of_attachment(Path::new("/d"), "../../etc/x", &owner("c1"));
        assert_eq!(file, Path::new("/d/cni/..-..-etc-x-c1_net1"));
    }
}
