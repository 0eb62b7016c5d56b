//! Which attachments a verb is about.

use crate::model::{Attachment, Called, IfName, NetworkName};

/// A choice among attachments.
///
/// Manifold may be called as itself, and play the part of a single plugin beside that, on one node and for one sandbox;
/// what a verb says in one role is not about what was made in the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// All that Manifold made as itself.
    Own,
    /// Of these, what one attachment of the runtime's stands for: what it called for by this interface, or by this name of
    /// its network, for either may have another name since; and what no runtime is known to have called for.
    Called(Called),
    /// All, in whatever role, for people who tidy up by hand.
    Any,
    /// Of all, the ones with these interface names.
    Interfaces(Vec<IfName>),
    /// The one it made as a single plugin for this interface, under whatever network's name.
    StandaloneInterface(IfName),
    /// All it made as a single plugin for this network.
    StandaloneNetwork(NetworkName),
}

impl Scope {
    /// Whether an attachment is meant.
    pub fn covers(&self, attachment: &Attachment) -> bool {
        match (self, &attachment.standalone) {
            (Self::Own, None) | (Self::Any, _) => true,
            (Self::Called(now), None) => attachment
                .called
                .as_ref()
                .is_none_or(|then| then.ifname == now.ifname || then.network == now.network),
            (Self::Interfaces(names), _) => names.contains(&attachment.owner.ifname),
            (Self::StandaloneInterface(name), Some(_)) => *name == attachment.owner.ifname,
            (Self::StandaloneNetwork(network), Some(called)) => network == called,
            (Self::Own | Self::Called(_), Some(_))
            | (Self::StandaloneInterface(_) | Self::StandaloneNetwork(_), None) => false,
        }
    }

    /// Whether the attachment of an interface may be meant, of which no more is known; without one, of any.
    pub(super) fn may_cover(&self, ifname: Option<&IfName>) -> bool {
        match self {
            Self::Own | Self::Called(_) | Self::Any | Self::StandaloneNetwork(_) => true,
            Self::Interfaces(names) => ifname.is_none_or(|ifname| names.contains(ifname)),
            Self::StandaloneInterface(name) => ifname.is_none_or(|ifname| name == ifname),
        }
    }
}
