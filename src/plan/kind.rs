//! A Kind: one native way to make an interface. `exec` is a Kind like the others.

use serde_json::value::RawValue;

use super::claim::Claim;
use super::facts::{Facts, Question};
use super::keys::Known;
use super::step::Step;
use crate::model::fault::Outcome;
use crate::model::{Attachment, MacAddr, Object, PluginConf, object};

/// One link of an attachment's chain, as a Kind sees it.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    /// The plugin's configuration.
    pub conf: &'a PluginConf,
    /// The attachment it is part of.
    pub attachment: &'a Attachment,
}

impl<'a> Ask<'a> {
    /// A value of `runtimeConfig`: one already in the configuration, else one given to the attachment whose capability
    /// the plugin declared.
    pub fn runtime(&self, capability: &str) -> Option<&'a RawValue> {
        let given = self.attachment.capabilities.find(capability);
        let declared = given.filter(|_| self.conf.wants(capability));
        declared.or_else(|| nested(self.conf.object(), &["runtimeConfig", capability]))
    }

    /// The Ethernet address asked for: by the runtime or the pod, else in `CNI_ARGS`, else in the configuration.
    ///
    /// # Errors
    /// It is none that a link can have.
    pub fn mac(&self, configured: Option<&str>) -> Outcome<Option<MacAddr>> {
        let runtime: Option<String> =
            self.runtime("mac").map(|raw| object::decode(raw, "runtimeConfig.mac")).transpose()?;
        let argument = self.attachment.args.get("MAC").map(str::to_owned);
        let each = [runtime, argument, configured.map(str::to_owned)];
        // An empty one asks for nothing.
        let asked = each.into_iter().flatten().find(|text| !text.is_empty());
        asked.map(|text| text.parse()).transpose()
    }

    /// A value of `args.cni` in the configuration (CNI conventions, "Dynamic Plugin specific fields").
    pub fn cni_arg(&self, key: &str) -> Option<&'a RawValue> {
        nested(self.conf.object(), &["args", "cni", key])
    }
}

/// The value at a path of keys, each in any letter case.
fn nested<'a>(object: &'a Object, path: &[&str]) -> Option<&'a RawValue> {
    let (first, rest) = path.split_first()?;
    rest.iter().try_fold(object.find(first)?, |raw, key| {
        let inner: std::collections::BTreeMap<String, &'a RawValue> = serde_json::from_str(raw.get()).ok()?;
        inner.into_iter().find(|(k, v)| k.eq_ignore_ascii_case(key) && v.get() != "null").map(|(_, v)| v)
    })
}

/// One way to make an interface.
pub trait Kind: Sync {
    /// The plugin type it stands for.
    fn plugin_type(&self) -> &'static str;

    /// The keys that are read of a configuration, beside those of every native plugin; none where a plugin is run, whose
    /// keys are its own affair.
    fn keys(&self) -> &'static [&'static Known];

    /// Whether its interface takes the Ethernet address that a pod asks for.
    fn takes_mac(&self) -> bool {
        true
    }

    /// The names of the pod's volumes into which such a configuration may put a socket; none if its interface is no
    /// socket.
    fn volumes(&self, _conf: &PluginConf) -> Vec<String> {
        Vec::new()
    }

    /// Reads and checks a configuration, without looking at the node.
    ///
    /// # Errors
    /// A value that can never be right.
    fn read(&self, ask: Ask<'_>) -> Outcome<Box<dyn Wanted>>;

    /// As [`Wanted::traces`], where the configuration cannot be read any more: what can be told without it.
    fn remains(&self, _attachment: &Attachment) -> Vec<Step> {
        Vec::new()
    }
}

/// What a configuration asks for, read and checked.
pub trait Wanted {
    /// What the attachment must have for itself.
    ///
    /// # Errors
    /// A claim that cannot be named.
    fn claims(&self) -> Outcome<Vec<Claim>> {
        Ok(Vec::new())
    }

    /// What of the keys that are known was written and has no effect, for the log.
    fn warnings(&self) -> Vec<String> {
        Vec::new()
    }

    /// What must be known about the node before planning.
    fn questions(&self) -> Vec<Question>;

    /// The steps, given the answers.
    ///
    /// # Errors
    /// The node lacks something, or the configuration does not fit it.
    fn steps(&self, facts: &Facts) -> Outcome<Vec<Step>>;

    /// Steps whose undoing removes whatever an attachment of this configuration may have left, for a DEL that has
    /// nothing but the configuration: the record is lost.
    fn traces(&self) -> Vec<Step>;
}
