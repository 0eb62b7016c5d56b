//! Who may ask the node's switches for what. Key `rules` of `vhostUser`.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::switches::{KEY, cut, wrong};
use crate::model::fault::{Fault, FaultKind, Outcome};
use crate::model::object::{self, Object};
use crate::model::path::plain;
use crate::model::vhost_user::{Engine, PortVlans, vlan_id};

/// Most rules, and most entries of a list in one.
const MAX_LIST: usize = 1024;

/// Who may ask for what; key `rules`. Without rules, everything but sockets that the switch makes is allowed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules(Option<Vec<Rule>>);

/// What networks of some namespaces may ask for. What is not listed is not limited.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rule {
    /// The namespaces; `*` is every one.
    namespaces: Option<Vec<String>>,
    engines: Option<Vec<Engine>>,
    /// Names; a `*` at the end stands for any end.
    bridges: Option<Vec<String>>,
    /// First and last of each range.
    vlans: Option<Vec<(u16, u16)>>,
    /// Directories, and what is beneath them.
    paths: Option<Vec<PathBuf>>,
    /// Names and numbers, as networks may write them.
    groups: Option<Vec<String>>,
    /// SELinux contexts; a `*` at the end stands for any end.
    labels: Option<Vec<String>>,
    create_bridge: bool,
    server_mode: bool,
}

/// What an attachment asks of a switch, as far as rules are about it.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The switch.
    pub engine: Engine,
    /// The bridge, or the number of a bridge domain.
    pub bridge: Option<&'a str>,
    /// Whether the bridge is to be made if it is not there.
    pub create_bridge: bool,
    /// The VLANs.
    pub vlans: &'a PortVlans,
    /// The directory of the node in which the socket is to be, unless it is the pod's own.
    pub path: Option<&'a Path>,
    /// Whether that is a directory which others may have too, and its group or SELinux context is to be changed.
    pub shares: bool,
    /// The group that the socket's directory is to have.
    pub group: Option<&'a str>,
    /// The SELinux context that it is to have.
    pub label: Option<&'a str>,
    /// Whether the switch is to make the socket (`dpdkvhostuser` of Open vSwitch).
    pub server_mode: bool,
}

#[derive(Deserialize)]
struct RuleKeys {
    namespaces: Option<Vec<String>>,
    engines: Option<Vec<Engine>>,
    bridges: Option<Vec<String>>,
    vlans: Option<Vec<VlanKeys>>,
    paths: Option<Vec<PathBuf>>,
    groups: Option<Vec<Word>>,
    selinuxlabels: Option<Vec<String>>,
    #[serde(default)]
    createbridge: bool,
    #[serde(default)]
    servermode: bool,
}

/// A text, or a number that stands for one.
#[derive(Deserialize)]
#[serde(untagged, expecting = "it is neither a text nor a number")]
enum Word {
    Text(String),
    Number(u32),
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "it is neither a number nor a range such as \"100-199\"")]
enum VlanKeys {
    Id(i64),
    Range(String),
}

impl Rules {
    /// Reads the rules.
    ///
    /// # Errors
    /// One that says nothing that can be.
    pub(super) fn read(object: &Object) -> Outcome<Self> {
        let Some(raw) = object.find("rules") else { return Ok(Self(None)) };
        let each: Vec<Object> = object::decode(raw, "\"rules\"")?;
        if each.len() > MAX_LIST {
            return Err(wrong("rules", &format!("a list of {}", each.len()))
                .remedy(format!("write at most {MAX_LIST} rules")));
        }
        let read = each.iter().enumerate().map(|(number, rule)| {
            Rule::read(rule).map_err(|fault| fault.while_doing(format!("rule {number} of {KEY:?}")))
        });
        read.collect::<Outcome<_>>().map(|rules| Self(Some(rules)))
    }

    /// Those that are about networks of a namespace.
    #[must_use]
    pub fn of(&self, namespace: &str) -> Self {
        let about = |rule: &&Rule| match &rule.namespaces {
            None => true,
            Some(names) => names.iter().any(|name| name == "*" || name == namespace),
        };
        Self(self.0.as_ref().map(|rules| rules.iter().filter(about).cloned().collect()))
    }

    /// Whether some rule allows all that is asked.
    ///
    /// # Errors
    /// None does. What stands in the way is told of the rule that comes closest.
    pub fn permit(&self, request: Request<'_>) -> Outcome<()> {
        let refused = match &self.0 {
            None if request.shares => Refusal::Shared,
            None if request.server_mode => Refusal::ServerMode,
            None => return Ok(()),
            Some(rules) => {
                let mut closest = Refusal::Namespace;
                for rule in rules {
                    match rule.refusal(&request) {
                        None => return Ok(()),
                        Some(refusal) => closest = closest.max(refusal),
                    }
                }
                closest
            }
        };
        Err(refused.told(&request))
    }
}

/// Why a rule does not allow something: the later, the closer it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Refusal {
    Namespace,
    Engine,
    Bridge,
    CreateBridge,
    Vlan,
    Path,
    Group,
    Label,
    Shared,
    ServerMode,
}

impl Refusal {
    fn told(self, request: &Request<'_>) -> Fault {
        let what = match self {
            Self::Namespace => "no rule is about networks of this namespace".to_owned(),
            Self::Engine => format!("engine {:?} is not allowed", request.engine.as_str()),
            Self::Bridge => format!("bridge {:?} is not allowed", request.bridge.unwrap_or_default()),
            Self::CreateBridge => "making a bridge is not allowed".to_owned(),
            Self::Vlan => match request.vlans {
                PortVlans::Access(id) => format!("VLAN {id} is not allowed"),
                PortVlans::Trunk { .. } => "a VLAN of the trunk is not allowed".to_owned(),
                PortVlans::All => "a port that carries all VLANs is not allowed".to_owned(),
            },
            Self::Path => format!("directory {:?} is not allowed", request.path.unwrap_or(Path::new(""))),
            Self::Group => format!("group {:?} is not allowed", request.group.unwrap_or_default()),
            Self::Label => format!("SELinux context {:?} is not allowed", request.label.unwrap_or_default()),
            Self::Shared => {
                let path = request.path.unwrap_or(Path::new(""));
                format!("a group or an SELinux context for directory {path:?} of the node is not allowed")
            }
            Self::ServerMode => "a socket that the switch makes is not allowed".to_owned(),
        };
        let remedy = match self {
            Self::ServerMode => {
                "let the application make the socket (\"mode\": \"server\"), or allow \"serverMode\" in a rule of \
                 Manifold's \"vhostUser\""
            }
            Self::Shared => {
                "use an emptyDir, or let the operator name the directory in \"paths\" of a rule of Manifold's \
                 \"vhostUser\""
            }
            Self::Namespace
            | Self::Engine
            | Self::Bridge
            | Self::CreateBridge
            | Self::Vlan
            | Self::Path
            | Self::Group
            | Self::Label => {
                "ask for what the node's operator allows, or let the operator extend the rules of Manifold's \
                 \"vhostUser\""
            }
        };
        Fault::new(FaultKind::Config, what).remedy(remedy)
    }
}

impl Rule {
    fn read(object: &Object) -> Outcome<Self> {
        let keys: RuleKeys = object.decode("the rule")?;
        let vlans = keys.vlans.map(|each| each.iter().map(VlanKeys::range).collect::<Outcome<_>>());
        let paths = keys.paths.map(|each| each.into_iter().map(|path| plain("paths", path)).collect());
        Ok(Self {
            namespaces: keys.namespaces,
            engines: keys.engines,
            bridges: keys.bridges,
            vlans: vlans.transpose()?,
            paths: paths.transpose()?,
            groups: keys.groups.map(|each| each.into_iter().map(Word::into_string).collect()),
            labels: keys.selinuxlabels,
            create_bridge: keys.createbridge,
            server_mode: keys.servermode,
        })
    }

    /// Why this rule does not allow it; `None` if it does.
    fn refusal(&self, request: &Request<'_>) -> Option<Refusal> {
        let engine = self.engines.as_ref().is_none_or(|all| all.contains(&request.engine));
        let fits = |all: &Option<Vec<String>>, asked: Option<&str>| match (all, asked) {
            (Some(all), Some(name)) => all.iter().any(|pattern| matches(pattern, name)),
            (None, _) | (_, None) => true,
        };
        let path = self
            .paths
            .as_ref()
            .is_none_or(|all| request.path.is_none_or(|path| all.iter().any(|root| path.starts_with(root))));
        let each = [
            (engine, Refusal::Engine),
            (fits(&self.bridges, request.bridge), Refusal::Bridge),
            (self.create_bridge || !request.create_bridge, Refusal::CreateBridge),
            (self.carries(request.vlans), Refusal::Vlan),
            (path, Refusal::Path),
            (fits(&self.groups, request.group), Refusal::Group),
            (fits(&self.labels, request.label), Refusal::Label),
            (self.paths.is_some() || !request.shares, Refusal::Shared),
            (self.server_mode || !request.server_mode, Refusal::ServerMode),
        ];
        each.into_iter().find(|(allowed, _)| !allowed).map(|(_, refusal)| refusal)
    }

    /// Whether all VLANs of a port are in the ranges. A port that carries all is in none.
    fn carries(&self, vlans: &PortVlans) -> bool {
        let Some(ranges) = &self.vlans else { return true };
        let within = |id: &u16| ranges.iter().any(|(first, last)| (first..=last).contains(&id));
        match vlans {
            PortVlans::All => false,
            PortVlans::Access(id) => within(id),
            PortVlans::Trunk { native, ids } => {
                !ids.is_empty() && ids.iter().all(within) && native.iter().all(within)
            }
        }
    }
}

impl Word {
    fn into_string(self) -> String {
        match self {
            Self::Text(text) => text,
            Self::Number(number) => number.to_string(),
        }
    }
}

impl VlanKeys {
    /// First and last.
    fn range(&self) -> Outcome<(u16, u16)> {
        let text = match self {
            Self::Id(id) => return vlan_id("vlans", *id).map(|id| (id, id)),
            Self::Range(text) => text,
        };
        let unread = |_: std::num::ParseIntError| {
            wrong("vlans", &format!("{:?}", cut(text))).remedy("give VLAN ids, or ranges such as \"100-199\"")
        };
        let read = |part: &str| part.trim().parse().map_err(unread).and_then(|id| vlan_id("vlans", id));
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let (first, last) = (read(first)?, read(last)?);
        if first > last {
            let what = wrong("vlans", &format!("{:?}", cut(text)));
            return Err(what.remedy("begin ranges with the lower id"));
        }
        Ok((first, last))
    }
}

/// Whether a name fits a pattern: the same, or one that ends in `*`.
fn matches(pattern: &str, name: &str) -> bool {
    pattern.strip_suffix('*').map_or(pattern == name, |start| name.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(text: &str) -> Rules {
        Rules::read(&Object::parse(format!(r#"{{"rules":{text}}}"#).as_bytes(), "the test").unwrap()).unwrap()
    }

    fn request<'a>(bridge: &'a str, vlans: &'a PortVlans) -> Request<'a> {
        Request {
            engine: Engine::OvsDpdk,
            bridge: Some(bridge),
            create_bridge: false,
            vlans,
            path: None,
            shares: false,
            group: None,
            label: None,
            server_mode: false,
        }
    }

    fn refusal(rules: &Rules, request: Request<'_>) -> String {
        rules.permit(request).unwrap_err().to_string()
    }

    #[test]
    fn without_rules_all_is_allowed_but_sockets_of_the_switch() {
        let none = Rules::default();
        let all = PortVlans::All;
        let asked = Request { create_bridge: true, ..request("br0", &all) };

        assert!(none.permit(asked).is_ok());
        assert_eq!(
            refusal(&none, Request { server_mode: true, ..asked }),
            "a socket that the switch makes is not allowed"
        );
    }

    #[test]
    fn one_rule_must_allow_all_that_is_asked() {
        let rules = rules(
            r#"[{"namespaces":["a"],"bridges":["br-a*"],"vlans":["100-199",300],"paths":["/var/run/vhost"]},
                {"namespaces":["*"],"bridges":["br-all"],"engines":["ovs-dpdk"],"createBridge":true,"serverMode":true}]"#,
        );
        let (a, b) = (rules.of("a"), rules.of("b"));
        let (free, tagged) = (PortVlans::All, PortVlans::Access(150));
        let trunk = |ids: &[u16], native| PortVlans::Trunk { native, ids: ids.to_vec() };

        assert!(a.permit(request("br-a1", &tagged)).is_ok());
        assert!(a.permit(request("br-a1", &trunk(&[100, 300], None))).is_ok());
        assert!(b.permit(request("br-all", &free)).is_ok());
        assert_eq!(refusal(&b, request("br-a1", &tagged)), "bridge \"br-a1\" is not allowed");
        assert_eq!(refusal(&a, request("br-a1", &free)), "a port that carries all VLANs is not allowed");
        assert_eq!(
            refusal(&a, request("br-a1", &trunk(&[], Some(150)))),
            "a VLAN of the trunk is not allowed"
        );
        assert_eq!(
            refusal(&a, request("br-a1", &trunk(&[150], Some(1)))),
            "a VLAN of the trunk is not allowed"
        );
        assert_eq!(refusal(&a, request("br-a1", &PortVlans::Access(200))), "VLAN 200 is not allowed");
        let elsewhere = Request { path: Some(Path::new("/var/run/vhost2")), ..request("br-a1", &tagged) };
        assert_eq!(refusal(&a, elsewhere), "directory \"/var/run/vhost2\" is not allowed");
        let beneath = Request { path: Some(Path::new("/var/run/vhost/x")), ..request("br-a1", &tagged) };
        assert!(a.permit(beneath).is_ok());
        let made = Request { create_bridge: true, ..request("br-a1", &tagged) };
        assert_eq!(refusal(&a, made), "making a bridge is not allowed");
        let served = Request { server_mode: true, ..request("br-a1", &tagged) };
        assert_eq!(refusal(&a, served), "a socket that the switch makes is not allowed");
        let vpp = Request { engine: Engine::Vpp, ..request("br-x", &free) };
        assert_eq!(refusal(&b, vpp), "engine \"vpp\" is not allowed");
    }

    #[test]
    fn a_directory_that_others_have_is_shared_only_where_a_rule_names_it() {
        let all = PortVlans::All;
        let path = Some(Path::new("/srv/v"));
        let asked = Request { path, shares: true, group: Some("107"), ..request("br0", &all) };
        let said = "a group or an SELinux context for directory \"/srv/v\" of the node is not allowed";

        assert_eq!(refusal(&Rules::default(), asked), said);
        assert_eq!(refusal(&rules(r#"[{"bridges":["br0"]}]"#), asked), said);
        assert!(rules(r#"[{"paths":["/srv"]}]"#).permit(asked).is_ok());
        assert!(Rules::default().permit(Request { shares: false, ..asked }).is_ok());
    }

    #[test]
    fn groups_and_contexts_are_what_the_operator_lists() {
        let rules = rules(
            r#"[{"groups":["hugetlbfs",107],"selinuxLabels":["system_u:object_r:container_file_t:*"]}]"#,
        );
        let all = PortVlans::All;
        let plain = request("br0", &all);

        assert!(rules.permit(plain).is_ok());
        for group in ["hugetlbfs", "107"] {
            assert!(rules.permit(Request { group: Some(group), ..plain }).is_ok(), "{group}");
        }
        for group in ["root", "0", "10", "hugetlbfs2"] {
            let refused = refusal(&rules, Request { group: Some(group), ..plain });
            assert_eq!(refused, format!("group {group:?} is not allowed"));
        }
        let label = |label| Request { label: Some(label), ..plain };
        assert!(rules.permit(label("system_u:object_r:container_file_t:s0:c1,c2")).is_ok());
        let refused = refusal(&rules, label("system_u:object_r:etc_t:s0"));
        assert_eq!(refused, "SELinux context \"system_u:object_r:etc_t:s0\" is not allowed");
    }

    #[test]
    fn a_namespace_without_a_rule_may_nothing() {
        let rules = rules(r#"[{"namespaces":["a"]}]"#);
        let all = PortVlans::All;

        assert!(rules.of("a").permit(request("br0", &all)).is_ok());
        assert_eq!(
            refusal(&rules.of("b"), request("br0", &all)),
            "no rule is about networks of this namespace"
        );
        assert!(self::rules("[]").permit(request("br0", &all)).is_err());
    }
}
