//! Names, each checked once where it enters (CNI specification 1.1.0, "Parameters"; kernel `dev_valid_name`).

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::fault::{Fault, FaultKind};

/// Longest container id or network name accepted. The specification sets no limit, but both become file names.
pub const MAX_NAME: usize = 200;

/// Longest label of RFC 1123, such as the name of a namespace of the cluster, in bytes.
pub(super) const MAX_LABEL: usize = 63;

/// A text that passed a check; reads, prints and serialises as the text.
macro_rules! checked_text {
    ($(#[$doc:meta])* $name:ident, $check:path) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The text itself.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::str::FromStr for $name {
            type Err = Fault;

            fn from_str(text: &str) -> Result<Self, Fault> {
                $check(text)?;
                Ok(Self(text.to_owned()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = Fault;

            fn try_from(text: String) -> Result<Self, Fault> {
                $check(&text)?;
                Ok(Self(text))
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

pub(super) use checked_text;

checked_text!(
    /// The runtime's name for a sandbox: `[a-zA-Z0-9][a-zA-Z0-9_.-]*`, at most [`MAX_NAME`] bytes.
    ContainerId,
    check_container_id
);
checked_text!(
    /// The name of a network: `[a-zA-Z0-9][a-zA-Z0-9_.-]*`, at most [`MAX_NAME`] bytes.
    NetworkName,
    check_network_name
);
checked_text!(
    /// The name of an interface: 1 to 15 bytes, not `.` or `..`, without `/`, `:`, `%`, white space, control characters or what is no UTF-8, and
    /// neither `all` nor `default`, which are directories of `/proc/sys/net/ipv4/conf`.
    IfName,
    check_ifname
);
checked_text!(
    /// The type of a plugin, which is also the name of its executable: not empty, no `/`, not `.` or `..`.
    PluginType,
    check_plugin_type
);

/// Whether a text is `[a-zA-Z0-9][a-zA-Z0-9_.-]*` of at most so many bytes.
pub(super) fn is_plain(text: &str, most: usize) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.len() <= most
        && text.bytes().all(is_plain_byte)
}

/// Whether a byte is one of `[a-zA-Z0-9_.-]`.
pub(super) fn is_plain_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-')
}

/// Whether a text is `[a-z0-9]([-a-z0-9]*[a-z0-9])?`: a label of RFC 1123, of whatever length.
pub(super) fn is_label(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    text.bytes().all(plain) && !text.is_empty() && !text.starts_with('-') && !text.ends_with('-')
}

fn check_container_id(text: &str) -> Result<(), Fault> {
    if is_plain(text, MAX_NAME) {
        return Ok(());
    }
    Err(Fault::new(FaultKind::Environment, format!("container id {text:?} is not valid"))
        .remedy(plain_name_rule("it")))
}

fn check_network_name(text: &str) -> Result<(), Fault> {
    if is_plain(text, MAX_NAME) {
        return Ok(());
    }
    Err(Fault::new(FaultKind::Config, format!("network name {text:?} is not valid"))
        .remedy(plain_name_rule("\"name\"")))
}

fn plain_name_rule(subject: &str) -> String {
    format!(
        "{subject} starts with a letter or digit, goes on with letters, digits, \"_\", \".\" or \"-\", and has at most {MAX_NAME} bytes"
    )
}

fn check_ifname(text: &str) -> Result<(), Fault> {
    let wrong = if text.is_empty() {
        "is empty"
    } else if text.len() > 15 {
        "is longer than 15 bytes"
    } else if matches!(text, "." | "..") {
        "is a directory's name"
    } else if text.chars().any(|c| matches!(c, '/' | ':') || c.is_whitespace() || c.is_control()) {
        "has \"/\", \":\", white space or a control character in it"
    } else if text.contains(char::REPLACEMENT_CHARACTER) {
        // Doors put it for bytes that are no text.
        "is no UTF-8"
    } else if text.contains('%') {
        "has \"%\" in it, for which the kernel puts a number"
    } else if matches!(text, "all" | "default") {
        "is the kernel's word for the settings of every interface"
    } else {
        return Ok(());
    };
    Err(Fault::new(FaultKind::Environment, format!("interface name {text:?} {wrong}"))
        .remedy("choose a name of 1 to 15 bytes such as \"net1\""))
}

fn check_plugin_type(text: &str) -> Result<(), Fault> {
    if text.is_empty() {
        return Err(Fault::new(FaultKind::Config, "a plugin configuration has no \"type\"")
            .remedy("name the plugin in \"type\""));
    }
    if matches!(text, "." | "..") || text.contains(['/', '\0']) {
        return Err(Fault::new(FaultKind::Config, format!("plugin type {text:?} is not a file name"))
            .remedy("write the name of the executable alone, without a path"));
    }
    Ok(())
}

checked_text!(
    /// The path of a network namespace: absolute, without a NUL byte, shorter than the kernel's `PATH_MAX`.
    NetnsPath,
    check_netns
);

fn check_netns(text: &str) -> Result<(), Fault> {
    // Doors put the replacement character for bytes that are no text.
    let wrong = if text.contains(char::REPLACEMENT_CHARACTER) {
        "is no UTF-8"
    } else if text.starts_with('/') && text.len() < 4096 && !text.contains('\0') {
        return Ok(());
    } else {
        "is not an absolute path"
    };
    Err(Fault::new(FaultKind::Environment, format!("network namespace {text:?} {wrong}"))
        .remedy("give a path such as \"/run/netns/pod1\""))
}

impl NetnsPath {
    /// The path.
    pub fn as_path(&self) -> &Path {
        Path::new(&self.0)
    }
}

impl From<NetnsPath> for PathBuf {
    fn from(path: NetnsPath) -> Self {
        path.0.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn interface_names_follow_the_kernel() {
        for good in ["eth0", "net1", "a", "ens5f0.100", "fifteen-bytes-x", "ETH_0", "...", "All", "default0"]
        {
            assert!(good.parse::<IfName>().is_ok(), "{good}");
        }
        for bad in ["", ".", "..", "a/b", "a:b", "a b", "a\u{a0}b", "a\tb", "a\u{7}b", "sixteen-bytes-xx"]
            .into_iter()
            .chain(["a%d", "%", "all", "default", "a\u{fffd}b"])
        {
            let fault = bad.parse::<IfName>().unwrap_err();
            assert_eq!(fault.kind(), FaultKind::Environment, "{bad}");
            assert!(fault.advice().is_some());
        }
    }

    #[test]
    fn bytes_that_are_no_text_name_no_namespace() {
        assert!("/run/netns/pod\u{e4}".parse::<NetnsPath>().is_ok());
        let fault = "/run/netns/pod\u{fffd}".parse::<NetnsPath>().unwrap_err();
        assert!(fault.to_string().ends_with(" is no UTF-8"), "{fault}");
    }

    #[test]
    fn names_that_become_files_cannot_leave_their_directory() {
        for bad in ["", "..", ".hidden", "-x", "a/b", "a\0b", "a b", &"x".repeat(MAX_NAME + 1)] {
            assert_eq!(bad.parse::<ContainerId>().unwrap_err().kind(), FaultKind::Environment, "{bad}");
            assert_eq!(bad.parse::<NetworkName>().unwrap_err().kind(), FaultKind::Config, "{bad}");
        }
        for bad in ["", ".", "..", "../x", "/bin/sh"] {
            assert_eq!(bad.parse::<PluginType>().unwrap_err().kind(), FaultKind::Config, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_a_name_panic_or_a_bad_name(text in ".{0,24}") {
            if let Ok(name) = text.parse::<IfName>() {
                prop_assert!(!name.as_str().contains(['/', ':', ' ', '\n']) && name.as_str().len() <= 15);
            }
            if let Ok(id) = text.parse::<ContainerId>() {
                prop_assert!(Path::new(id.as_str()).components().count() == 1);
            }
        }
    }
}
