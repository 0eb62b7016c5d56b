//! The node's virtual switches: where they are, and who may ask them for what. Key `vhostUser`.

use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::model::fault::{Fault, FaultKind, Outcome};
use crate::model::object::{self, Object};
use crate::model::vhost_user::{Engine, PortVlans, vlan_id};

/// Where Open vSwitch's database listens.
pub const OVSDB_SOCKET: &str = "/var/run/openvswitch/db.sock";
/// Where VPP takes requests.
pub const VPP_SOCKET: &str = "/run/vpp/api.sock";
/// Where short links to sockets' directories are.
pub const LINK_DIR: &str = "/run/manifold/v";
/// How long a switch may take, in seconds.
const PATIENCE: u32 = 10;
/// Most rules, and most entries of a list in one.
const MAX_LIST: usize = 1024;

/// Where the node's switches are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Switches {
    /// The socket of Open vSwitch's database; key `ovsdbSocket`.
    pub ovsdb: PathBuf,
    /// The socket of VPP's API; key `vppSocket`.
    #[serde(default = "vpp_socket")]
    pub vpp: PathBuf,
    /// The directory of short links; key `linkDir`.
    pub link_dir: PathBuf,
    /// How long a switch may take to make or take down a port, in seconds; key `timeoutSeconds`.
    pub patience: u32,
}

impl Default for Switches {
    fn default() -> Self {
        Self { ovsdb: OVSDB_SOCKET.into(), vpp: vpp_socket(), link_dir: LINK_DIR.into(), patience: PATIENCE }
    }
}

/// Of records that were written before there was the key.
fn vpp_socket() -> PathBuf {
    VPP_SOCKET.into()
}

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
    /// Whether the switch is to make the socket (`dpdkvhostuser` of Open vSwitch).
    pub server_mode: bool,
}

#[derive(Deserialize)]
struct Keys {
    ovsdbsocket: Option<String>,
    vppsocket: Option<String>,
    linkdir: Option<PathBuf>,
    timeoutseconds: Option<u32>,
}

#[derive(Deserialize)]
struct RuleKeys {
    namespaces: Option<Vec<String>>,
    engines: Option<Vec<Engine>>,
    bridges: Option<Vec<String>>,
    vlans: Option<Vec<VlanKeys>>,
    paths: Option<Vec<PathBuf>>,
    #[serde(default)]
    createbridge: bool,
    #[serde(default)]
    servermode: bool,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum VlanKeys {
    Id(i64),
    Range(String),
}

const KEY: &str = "vhostUser";

impl Switches {
    /// Reads where the switches are, and the rules.
    ///
    /// # Errors
    /// A value of the wrong type; a socket or a directory that is no absolute path; a remote that is no socket of this
    /// node; a rule that says nothing that can be.
    pub fn read(object: &Object) -> Outcome<(Self, Rules)> {
        let Some(raw) = object.find(KEY) else { return Ok(Default::default()) };
        let object: Object = object::decode(raw, KEY)?;
        let keys: Keys = object.decode(KEY)?;
        let standard = Self::default();
        let patience = keys.timeoutseconds.unwrap_or(standard.patience);
        if !(1..=120).contains(&patience) {
            return Err(wrong("timeoutSeconds", &patience).remedy("give 1 to 120 seconds"));
        }
        let switches = Self {
            ovsdb: socket("ovsdbSocket", keys.ovsdbsocket, standard.ovsdb)?,
            vpp: socket("vppSocket", keys.vppsocket, standard.vpp)?,
            link_dir: plain("linkDir", keys.linkdir.unwrap_or(standard.link_dir))?,
            patience,
        };
        Ok((switches, Rules::read(&object)?))
    }

    /// As [`Switches::read`], for a DEL that must succeed whatever the configuration says.
    pub fn read_forgiving(object: &Object) -> (Self, Rules) {
        Self::read(object).unwrap_or_default()
    }
}

impl Rules {
    fn read(object: &Object) -> Outcome<Self> {
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
            None if !request.server_mode => return Ok(()),
            None => Refusal::ServerMode,
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
            Self::ServerMode => "a socket that the switch makes is not allowed".to_owned(),
        };
        let remedy = if self == Self::ServerMode {
            "let the application make the socket (\"mode\": \"server\"), or allow \"serverMode\" in a rule of \
             Manifold's \"vhostUser\""
        } else {
            "ask for what the node's operator allows, or let the operator extend the rules of Manifold's \
             \"vhostUser\""
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
            create_bridge: keys.createbridge,
            server_mode: keys.servermode,
        })
    }

    /// Why this rule does not allow it; `None` if it does.
    fn refusal(&self, request: &Request<'_>) -> Option<Refusal> {
        let engine = self.engines.as_ref().is_none_or(|all| all.contains(&request.engine));
        let bridge = self.bridges.as_ref().is_none_or(|all| {
            request.bridge.is_none_or(|name| all.iter().any(|pattern| matches(pattern, name)))
        });
        let path = self
            .paths
            .as_ref()
            .is_none_or(|all| request.path.is_none_or(|path| all.iter().any(|root| path.starts_with(root))));
        let each = [
            (engine, Refusal::Engine),
            (bridge, Refusal::Bridge),
            (self.create_bridge || !request.create_bridge, Refusal::CreateBridge),
            (self.carries(request.vlans), Refusal::Vlan),
            (path, Refusal::Path),
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

/// A socket of this node; `unix:` before its path is as the switch's tools spell it.
fn socket(key: &str, given: Option<String>, standard: PathBuf) -> Outcome<PathBuf> {
    let Some(text) = given.filter(|text| !text.is_empty()) else { return Ok(standard) };
    let path = text.strip_prefix("unix:").unwrap_or(&text);
    if ["tcp:", "ssl:", "ptcp:", "pssl:"].iter().any(|scheme| text.starts_with(scheme)) {
        return Err(Fault::new(FaultKind::Unsupported, format!("{key:?} is {:?}", cut(&text)))
            .remedy("name a socket of this node by its path"));
    }
    plain(key, path.into())
}

/// An absolute path that does not climb.
pub fn plain(key: &str, path: PathBuf) -> Outcome<PathBuf> {
    let climbs = path.components().any(|part| matches!(part, Component::ParentDir));
    let bytes = path.as_os_str().as_encoded_bytes();
    if path.is_absolute() && !climbs && bytes.len() < 4096 && !bytes.contains(&0) {
        return Ok(path);
    }
    let shown = cut(&path.to_string_lossy());
    Err(wrong(key, &format!("{shown:?}")).remedy("give an absolute path without \"..\""))
}

fn cut(text: &str) -> String {
    text.chars().take(120).collect()
}

fn wrong(key: &str, value: &dyn std::fmt::Display) -> Fault {
    Fault::new(FaultKind::Config, format!("{key:?} of {KEY:?} is {value}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Outcome<(Switches, Rules)> {
        Switches::read(&Object::parse(text.as_bytes(), "the test")?)
    }

    fn rules(text: &str) -> Rules {
        read(&format!(r#"{{"vhostUser":{{"rules":{text}}}}}"#)).unwrap().1
    }

    fn request<'a>(bridge: &'a str, vlans: &'a PortVlans) -> Request<'a> {
        Request {
            engine: Engine::OvsDpdk,
            bridge: Some(bridge),
            create_bridge: false,
            vlans,
            path: None,
            server_mode: false,
        }
    }

    fn refusal(rules: &Rules, request: Request<'_>) -> String {
        rules.permit(request).unwrap_err().to_string()
    }

    #[test]
    fn keys_have_defaults_and_sockets_are_of_this_node() {
        assert_eq!(read("{}").unwrap(), Default::default());
        let text = r#"{"VhostUser":{"ovsdbSocket":"unix:/run/ovs/db.sock","vppSocket":"/run/v.sock","linkDir":"/run/x","timeoutSeconds":3}}"#;
        let (switches, _) = read(text).unwrap();
        assert_eq!((switches.ovsdb, switches.patience), (PathBuf::from("/run/ovs/db.sock"), 3));
        assert_eq!(switches.vpp, PathBuf::from("/run/v.sock"));
        for (text, kind) in [
            (r#"{"ovsdbSocket":"tcp:127.0.0.1:6640"}"#, FaultKind::Unsupported),
            (r#"{"ovsdbSocket":"db.sock"}"#, FaultKind::Config),
            (r#"{"vppSocket":"api.sock"}"#, FaultKind::Config),
            (r#"{"linkDir":"/run/../etc"}"#, FaultKind::Config),
            (r#"{"timeoutSeconds":0}"#, FaultKind::Config),
            (r#"{"rules":{}}"#, FaultKind::Decode),
            (r#"{"rules":[{"vlans":["200-100"]}]}"#, FaultKind::Config),
            (r#"{"rules":[{"vlans":["x"]}]}"#, FaultKind::Config),
            (r#"{"rules":[{"vlans":[4095]}]}"#, FaultKind::Config),
            (r#"{"rules":[{"engines":["ovs"]}]}"#, FaultKind::Decode),
            (r#"{"rules":[{"paths":["run"]}]}"#, FaultKind::Config),
        ] {
            let fault = read(&format!(r#"{{"vhostUser":{text}}}"#)).unwrap_err();
            assert_eq!(fault.kind(), kind, "{text}: {fault}");
        }
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
