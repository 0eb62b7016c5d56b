//! `sriov`: a virtual function of an adapter, for the kernel or for an application that drives it itself.

use serde::Deserialize;

use crate::model::fault::{Fault, Outcome};
use crate::model::{Attachment, FaultKind, MacAddr, Owner, PciAddress, object};
use crate::plan::claim::Claim;
use crate::plan::facts::{Facts, Question};
use crate::plan::keys::{self, Known};
use crate::plan::kind::{Ask, Kind, Wanted};
use crate::plan::mark;
use crate::plan::step::{Bearer, LinkKind, LinkStep, Step, VlanProtocol};
use crate::plan::vf::{
    AddressLock, AppVf, Binding, Driven, Function, KernelVf, Pf, PfPort, PortFacts, PortUse, VfFacts,
    VfLinkState, VfPort, VfRate, VfSettings, VfStep, VfTake, VfVlan,
};
use crate::plan::virtual_link::{self, Layer3};

/// The plugin type `sriov`, with the keys of the peer's plugin, and `mtu`, `allmulti`, `bindDriver` and `dummy`.
pub(super) struct Sriov;

/// What drives a VF for an application: `vfio-pci`, its variants of vendors (`mlx5_vfio_pci`), and UIO.
fn is_for_applications(driver: &str) -> bool {
    driver.contains("vfio") || driver.contains("uio")
}

/// The driver of virtio devices on PCI. The kernel tells of their interfaces by another name than the function's.
const VIRTIO: &str = "virtio-pci";

const KNOWN: Known = Known {
    plain: &[
        "allmulti",
        "bindDriver",
        "deviceID",
        "dummy",
        "link_state",
        "mac",
        "max_tx_rate",
        "min_tx_rate",
        "mtu",
        "pciBusID",
        "spoofchk",
        "trust",
        "vlan",
        "vlanProto",
        "vlanQoS",
    ],
    objects: &[],
};

/// Keys that the peer's plugin reads, about its own log.
const PASSED_OVER: Known = Known { plain: &["logFile", "logLevel"], objects: &[] };

#[derive(Deserialize)]
struct Keys {
    deviceid: Option<String>,
    pcibusid: Option<String>,
    vlan: Option<i64>,
    vlanqos: Option<i64>,
    vlanproto: Option<String>,
    mac: Option<String>,
    spoofchk: Option<String>,
    trust: Option<String>,
    link_state: Option<String>,
    min_tx_rate: Option<i64>,
    max_tx_rate: Option<i64>,
    mtu: Option<i64>,
    allmulti: Option<bool>,
    binddriver: Option<String>,
    #[serde(default)]
    dummy: bool,
}

/// A VF that is asked for, read and checked.
struct Virtual {
    owner: Owner,
    /// None where nobody asks for a pod: STATUS, and a DEL after which the device is forgotten.
    vf: Option<PciAddress>,
    /// Whether the kubelet gave it to the pod.
    given: bool,
    settings: VfSettings,
    /// Of the rates, those asked for: the PF takes both at once, and the other one stays as it is.
    rates: (Option<u32>, Option<u32>),
    mtu: Option<u32>,
    allmulti: Option<bool>,
    bind: Option<String>,
    dummy: bool,
    layer3: Layer3,
}

impl Kind for Sriov {
    fn plugin_type(&self) -> &'static str {
        "sriov"
    }

    fn keys(&self) -> &'static [&'static Known] {
        &[&KNOWN, &PASSED_OVER, &virtual_link::KNOWN, &keys::EVERYWHERE]
    }

    fn read(&self, ask: Ask<'_>) -> Outcome<Box<dyn Wanted>> {
        let keys: Keys = ask.conf.object().decode("the configuration")?;
        let settings = VfSettings {
            mac: ask.mac(keys.mac.as_deref())?,
            vlan: vlan(&keys)?,
            spoofchk: switch("spoofchk", keys.spoofchk.as_deref())?,
            trust: switch("trust", keys.trust.as_deref())?,
            link_state: link_state(keys.link_state.as_deref())?,
            rate: None,
        };
        let rates = (rate("min_tx_rate", keys.min_tx_rate)?, rate("max_tx_rate", keys.max_tx_rate)?);
        let bind = bind_driver(keys.binddriver.as_deref())?;
        let vf = device(ask, &keys)?;
        Ok(Box::new(Virtual {
            owner: ask.attachment.owner.clone(),
            vf,
            given: vf.is_some_and(|vf| given(ask.attachment, vf)),
            settings,
            rates,
            mtu: virtual_link::mtu(keys.mtu)?,
            allmulti: keys.allmulti,
            bind,
            dummy: keys.dummy,
            layer3: Layer3::read(ask)?,
        }))
    }

    fn remains(&self, _attachment: &Attachment) -> Vec<Step> {
        vec![Step::Vf(VfStep::Lost)]
    }
}

fn wrong(what: impl Into<String>, remedy: &'static str) -> Fault {
    Fault::new(FaultKind::Config, what).remedy(remedy)
}

/// The VF: a device plugin's choice is put into the configuration, or given by the runtime.
fn device(ask: Ask<'_>, keys: &Keys) -> Outcome<Option<PciAddress>> {
    let runtime: Option<String> =
        ask.runtime("deviceID").map(|raw| object::decode(raw, "runtimeConfig.deviceID")).transpose()?;
    let named = [keys.deviceid.clone(), keys.pcibusid.clone(), runtime].into_iter().flatten();
    match named.into_iter().find(|text| !text.is_empty()) {
        Some(text) => text.parse().map(Some).map_err(|fault: Fault| fault.while_doing("\"deviceID\"")),
        None => Ok(None),
    }
}

/// Whether the kubelet gave a device to the pod.
fn given(attachment: &Attachment, vf: PciAddress) -> bool {
    let given = attachment.device.as_ref().filter(|device| device.resource.is_some());
    given.is_some_and(|device| device.id.as_str().parse().is_ok_and(|id: PciAddress| id == vf))
}

fn no_device() -> Fault {
    wrong(
        "\"deviceID\" is absent: no VF is named",
        "request the device plugin's resource in the pod and name it in the network's \
         \"k8s.v1.cni.cncf.io/resourceName\" annotation, or write a VF's PCI address into \"deviceID\"",
    )
}

fn vlan(keys: &Keys) -> Outcome<Option<VfVlan>> {
    let qos = keys.vlanqos.unwrap_or_default();
    let protocol = keys.vlanproto.as_deref().unwrap_or("802.1q");
    let Some(id) = keys.vlan else {
        return match (keys.vlanqos, &keys.vlanproto) {
            (None, None) => Ok(None),
            (Some(_), _) => Err(wrong("\"vlanQoS\" is set without \"vlan\"", "add \"vlan\"")),
            (None, Some(_)) => Err(wrong("\"vlanProto\" is set without \"vlan\"", "add \"vlan\"")),
        };
    };
    let number = u16::try_from(id).ok().filter(|id| *id <= 4094);
    let number = number.ok_or_else(|| wrong(format!("\"vlan\" is {id}"), "give a VLAN id from 0 to 4094"))?;
    let priority = u8::try_from(qos).ok().filter(|qos| *qos <= 7);
    let priority =
        priority.ok_or_else(|| wrong(format!("\"vlanQoS\" is {qos}"), "give a priority from 0 to 7"))?;
    let protocol = match protocol.to_ascii_lowercase().as_str() {
        "802.1q" => VlanProtocol::Dot1Q,
        "802.1ad" => VlanProtocol::Dot1Ad,
        _ => return Err(wrong(format!("\"vlanProto\" is {protocol:?}"), "use \"802.1q\" or \"802.1ad\"")),
    };
    if number == 0 && (priority != 0 || protocol != VlanProtocol::Dot1Q) {
        return Err(wrong(
            "\"vlan\" is 0, and \"vlanQoS\" or \"vlanProto\" speaks of a tag",
            "give a VLAN id from 1 to 4094, or leave those keys out",
        ));
    }
    Ok(Some(VfVlan { id: number, qos: priority, protocol }))
}

fn switch(key: &str, value: Option<&str>) -> Outcome<Option<bool>> {
    match value.unwrap_or_default() {
        "" => Ok(None),
        "on" => Ok(Some(true)),
        "off" => Ok(Some(false)),
        other => Err(wrong(
            format!("{key:?} is {other:?}"),
            "use \"on\" or \"off\", or leave the key out to keep what the adapter has",
        )),
    }
}

fn link_state(value: Option<&str>) -> Outcome<Option<VfLinkState>> {
    match value.unwrap_or_default() {
        "" => Ok(None),
        "auto" => Ok(Some(VfLinkState::Auto)),
        "enable" => Ok(Some(VfLinkState::Enable)),
        "disable" => Ok(Some(VfLinkState::Disable)),
        other => {
            Err(wrong(format!("\"link_state\" is {other:?}"), "use \"auto\", \"enable\" or \"disable\""))
        }
    }
}

fn rate(key: &str, value: Option<i64>) -> Outcome<Option<u32>> {
    let Some(value) = value else { return Ok(None) };
    let rate = u32::try_from(value);
    rate.map(Some).map_err(|_| wrong(format!("{key:?} is {value}"), "give Mbit/s, or 0 for no bound"))
}

fn bind_driver(name: Option<&str>) -> Outcome<Option<String>> {
    match name.unwrap_or_default() {
        "" => Ok(None),
        name if is_driver_name(name) && is_for_applications(name) => Ok(Some(name.to_owned())),
        name => Err(wrong(
            format!("\"bindDriver\" is {name:?}"),
            "name a driver for applications such as \"vfio-pci\", or leave the key out for the driver the VF has",
        )),
    }
}

/// Whether a text can be a driver's name: it becomes part of a path.
fn is_driver_name(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    name.len() <= 64 && name.bytes().all(plain)
}

impl Wanted for Virtual {
    fn claims(&self) -> Outcome<Vec<Claim>> {
        self.vf.map(|vf| vec![Claim::pci(vf)]).ok_or_else(no_device)
    }

    fn questions(&self) -> Vec<Question> {
        let mut questions = self.layer3.questions();
        questions.extend(self.vf.map(Question::Vf));
        questions
    }

    fn steps(&self, facts: &Facts) -> Outcome<Vec<Step>> {
        let Some(vf) = self.vf else { return Ok(Vec::new()) };
        let seen = facts.vf(vf).ok_or_else(|| {
            Fault::new(FaultKind::Absent, format!("there is no PCI device {vf} on this node"))
                .remedy("see whether its PF still has VFs (sriov_numvfs), and restart the device plugin")
        })?;
        self.may_be_taken(vf, seen)?;
        let take = self.take(vf, seen)?;
        let by_application = matches!(take.driven, Driven::Application(_));
        let bearer = if by_application && !self.dummy { Bearer::Application } else { Bearer::Link };
        let mut configure = self.layer3.configure(facts, true)?;
        configure.bearer = bearer;
        let dummy = (by_application && self.dummy).then(|| self.dummy(take.mac()));
        let mut steps: Vec<Step> = dummy.into_iter().collect();
        steps.push(Step::Vf(VfStep::Take(Box::new(take))));
        Ok(self.layer3.arrange(steps, Step::Configure(configure)))
    }

    fn traces(&self) -> Vec<Step> {
        let lease = self.layer3.lease_step();
        let dummy = self.dummy.then(|| self.dummy(None));
        lease.into_iter().chain(dummy).chain([Step::Vf(VfStep::Lost)]).collect()
    }
}

impl Virtual {
    /// Whether the device is a VF that nobody needs.
    fn may_be_taken(&self, vf: PciAddress, seen: &VfFacts) -> Outcome<()> {
        if seen.function == Function::Physical {
            return Err(wrong(
                format!("{vf} is a physical function"),
                "give one of its virtual functions in \"deviceID\"",
            ));
        }
        self.may_be_named(vf, seen)?;
        if let Some(netns) = &seen.held_for {
            return Err(Fault::new(FaultKind::TryLater, format!("VF {vf} is held by another pod"))
                .confiding(format!("VF {vf} is held by the pod with network namespace {netns:?}"))
                .remedy("wait until that pod is gone; another program attached it"));
        }
        match &seen.port {
            PortFacts::Here(port, PortUse::Needed(why)) => Err(Fault::new(
                FaultKind::Exists,
                format!("{:?}, the interface of {vf}, is in use on the node: it {why}", port.name.as_str()),
            )
            .remedy("free that interface, or take the VF out of the device plugin's pool")),
            PortFacts::Elsewhere => Err(Fault::new(
                FaultKind::TryLater,
                format!("the interface of VF {vf} is in another network namespace"),
            )
            .remedy(
                "wait until the pod that has it is gone; find it with \"ip -all netns exec ip -d link\"",
            )),
            PortFacts::Here(_, PortUse::Free) | PortFacts::None => Ok(()),
        }
    }

    /// Whether the network may name the device itself: not if the node may need it for something else. What the kubelet
    /// gave is not the node's, and neither is what stays with the driver of an application.
    fn may_be_named(&self, vf: PciAddress, seen: &VfFacts) -> Outcome<()> {
        let driver = seen.driver.as_ref().filter(|driver| is_for_applications(driver));
        let stays = driver.is_some_and(|driver| self.bind.as_ref().is_none_or(|to| to == driver));
        if seen.is_network || self.given || stays {
            return Ok(());
        }
        Err(wrong(
            format!("PCI device {vf} is no network controller"),
            "name a VF of a network adapter in \"deviceID\", or have the device given to the pod by its device plugin",
        ))
    }

    fn take(&self, vf: PciAddress, seen: &VfFacts) -> Outcome<VfTake> {
        let (pf, was) = self.pf(vf, seen)?;
        let mut to = self.settings.clone();
        to.rate = self.rate(&was)?;
        Ok(VfTake {
            vf,
            pf,
            driven: self.driven(vf, seen)?,
            was,
            to,
            representor: seen.representor.clone(),
            rdma_device: seen.rdma_device.clone(),
        })
    }

    /// The PF, and what it holds of the VF.
    fn pf(&self, vf: PciAddress, seen: &VfFacts) -> Outcome<(Option<Pf>, VfSettings)> {
        let (pci, number, port) = match &seen.function {
            Function::Virtual { pf, number, pf_port } => (*pf, *number, pf_port),
            Function::Physical | Function::Alone => {
                self.needs_no_pf(vf)?;
                return Ok((None, VfSettings::default()));
            }
        };
        let Some(PfPort { name, index, ethernet, settings }) = port else {
            return Err(Fault::new(
                FaultKind::Absent,
                format!("the network interface of PF {pci} is not in the host's network namespace"),
            )
            .remedy("move it back: settings of a VF are made through its PF"));
        };
        if !ethernet {
            return Err(Fault::new(FaultKind::Unsupported, format!("PF {:?} is InfiniBand", name.as_str()))
                .remedy("use the plugin \"ib-sriov\" for it"));
        }
        Ok((
            Some(Pf { pci, name: name.clone(), index: *index, number }),
            settings.clone().unwrap_or_default(),
        ))
    }

    /// Without a PF there is nobody to make its settings.
    fn needs_no_pf(&self, vf: PciAddress) -> Outcome<()> {
        let s = &self.settings;
        let keys = [
            ("vlan", s.vlan.is_some()),
            ("spoofchk", s.spoofchk.is_some()),
            ("trust", s.trust.is_some()),
            ("link_state", s.link_state.is_some()),
            ("min_tx_rate", self.rates.0.is_some()),
            ("max_tx_rate", self.rates.1.is_some()),
        ];
        match keys.into_iter().find(|(_, asked)| *asked) {
            None => Ok(()),
            Some((key, _)) => Err(wrong(
                format!("{key:?} is set, but the PF of {vf} is not on this node"),
                "set it on the machine that has the PF, and leave the key out here",
            )),
        }
    }

    fn rate(&self, was: &VfSettings) -> Outcome<Option<VfRate>> {
        let now = was.rate.unwrap_or(VfRate { min: 0, max: 0 });
        let (min, max) = match self.rates {
            (None, None) => return Ok(None),
            (min, max) => (min.unwrap_or(now.min), max.unwrap_or(now.max)),
        };
        if max != 0 && min > max {
            return Err(wrong(
                format!("\"min_tx_rate\" is {min}, but \"max_tx_rate\" is {max}"),
                "promise no more than is allowed",
            ));
        }
        Ok(Some(VfRate { min, max }))
    }

    fn driven(&self, vf: PciAddress, seen: &VfFacts) -> Outcome<Driven> {
        let by_application = seen.driver.as_deref().is_some_and(is_for_applications);
        let port = match &seen.port {
            PortFacts::Here(port, _) => Some(port),
            PortFacts::Elsewhere | PortFacts::None => None,
        };
        match (&self.bind, port) {
            (Some(to), _) if seen.driver.as_ref() == Some(to) => self.application(None),
            (Some(to), port) => self.application(Some(Binding {
                was: seen.driver.clone(),
                was_override: seen.driver_override.clone(),
                port: port.cloned(),
                to: to.clone(),
            })),
            (None, Some(_)) if seen.driver.as_deref() == Some(VIRTIO) => Err(virtio(vf)),
            (None, Some(port)) => self.kernel(port),
            (None, None) if by_application => self.application(None),
            (None, None) => Err(no_port(vf, seen.driver.as_deref())),
        }
    }

    fn kernel(&self, port: &VfPort) -> Outcome<Driven> {
        if self.dummy {
            return Err(wrong(
                "\"dummy\" is set, but the kernel drives the VF",
                "set \"bindDriver\" too, or leave \"dummy\" out: the VF's own interface carries the addresses",
            ));
        }
        Ok(Driven::Kernel(KernelVf {
            was: port.clone(),
            mtu: self.mtu,
            allmulti: self.allmulti,
            lock: AddressLock::Unknown,
        }))
    }

    fn application(&self, bind: Option<Binding>) -> Outcome<Driven> {
        if self.allmulti.is_some() || (self.mtu.is_some() && !self.dummy) {
            return Err(wrong(
                "\"mtu\" or \"allmulti\" is set, but an application drives the VF",
                "leave the key out: the application sets it",
            ));
        }
        Ok(Driven::Application(AppVf { bind }))
    }

    /// The link that carries name and addresses in place of the VF's own.
    fn dummy(&self, mac: Option<MacAddr>) -> Step {
        Step::Link(LinkStep {
            kind: LinkKind::Dummy,
            master: None,
            mac: mac.or_else(|| Some(mark::derived_mac(&self.owner))),
            mtu: self.mtu,
            group: mark::link_group(&self.owner.container),
        })
    }
}

/// A VF that neither the kernel's network nor an application could use.
fn no_port(vf: PciAddress, driver: Option<&str>) -> Fault {
    match driver {
        None => Fault::new(FaultKind::Absent, format!("no driver is bound to VF {vf}")).remedy(
            "bind one (driver_override, drivers_probe in sysfs), or set \"bindDriver\" for an application",
        ),
        Some(driver) => Fault::new(
            FaultKind::Absent,
            format!("VF {vf} has no network interface, and {driver:?} is no driver for applications"),
        )
        .remedy("bind the adapter's VF driver, or set \"bindDriver\" to \"vfio-pci\""),
    }
}

/// The interface of a virtio device would not be found again in a pod by its function.
fn virtio(vf: PciAddress) -> Fault {
    Fault::new(FaultKind::Unsupported, format!("the interface of {vf} is that of a virtio device")).remedy(
        "set \"bindDriver\" to \"vfio-pci\" for an application, or use \"macvlan\" or \"host-device\" on it",
    )
}

#[cfg(test)]
mod tests;
