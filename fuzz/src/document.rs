//! Documents that are kept or sent whole: records, spooled DELs, questions to the daemon, descriptions of devices; and
//! texts of a line.

use std::fmt::{Debug, Display};
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use manifold::engine::record::Record;
use manifold::model::device::{DeviceId, ResourceName};
use manifold::model::ids::{ContainerId, IfName, NetworkName, PluginType};
use manifold::model::thick::{Question, Reply, Spooled};
use manifold::model::vhost_user::{BridgeName, SocketFile};
use manifold::model::{Call, CniVersion, DeviceInfo, MacAddr, NetnsPath, PciAddress, cidr, dialect};
use manifold::plan::claim::Claim;
use manifold::plan::ipam::resolv;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{result, stand};

pub(crate) fn run(data: &[u8]) {
    same_again::<Record>(data);
    same_again::<DeviceInfo>(data);
    if let Some(Spooled { env, config, .. }) = same_again(data) {
        drop(Call::new(env).with_stdin(config.to_bytes()).request());
    }
    if let Some(Question { env, config, .. }) = same_again(data) {
        drop(Call::new(env).with_stdin(STANDARD.decode(config).unwrap_or_default()).request());
    }
    if let Ok(Reply { result: Some(raw) }) = serde_json::from_slice(data)
        && let Ok(told) = dialect::read(raw.get().as_bytes(), CniVersion::NEWEST)
    {
        result::kept(&told);
    }
    if let Ok(info) = DeviceInfo::parse(data) {
        assert_eq!(DeviceInfo::parse(&serde_json::to_vec(&info).unwrap()).unwrap(), info);
    }
    if let Ok(text) = std::str::from_utf8(data) {
        names(text);
        drop(resolv::parse(text));
    }
}

/// What can be read is written so that it is read again.
fn same_again<T: Serialize + DeserializeOwned + PartialEq + Debug>(data: &[u8]) -> Option<T> {
    let value: T = serde_json::from_slice(data).ok()?;
    let text = serde_json::to_vec(&value).unwrap();
    let again: T = serde_json::from_slice(&text).unwrap_or_else(|cause| panic!("{cause}: {value:?}"));
    assert_eq!(again, value);
    Some(value)
}

/// Names print as they are read, and where they become names of files they stay in their folder.
fn names(text: &str) {
    let file = |name: Option<String>| assert!(name.is_none_or(|name| stand::is_one_component(&name)));
    file(printed::<ContainerId>(text));
    file(printed::<NetworkName>(text));
    file(printed::<IfName>(text));
    file(printed::<PluginType>(text));
    file(printed::<SocketFile>(text));
    printed::<BridgeName>(text);
    printed::<NetnsPath>(text);
    printed::<CniVersion>(text);
    printed::<DeviceId>(text);
    printed::<ResourceName>(text);
    // These have several spellings, one of which is printed.
    printed_anew::<MacAddr>(text);
    printed_anew::<PciAddress>(text);
    if let Some(network) = cidr::parse(text) {
        assert_eq!(cidr::parse(&network.to_string()), Some(network));
    }
    if let Ok(claim) = Claim::new(text) {
        assert!(stand::is_one_component(claim.as_str()));
    }
}

fn printed<T: FromStr + Display>(text: &str) -> Option<String> {
    let name = text.parse::<T>().ok()?.to_string();
    // No version is the oldest.
    assert!(name == text || text.is_empty(), "{text:?} is printed {name:?}");
    Some(name)
}

fn printed_anew<T: FromStr + Display + PartialEq + Debug>(text: &str) {
    let Ok(value) = text.parse::<T>() else { return };
    assert_eq!(value.to_string().parse::<T>().ok(), Some(value));
}
