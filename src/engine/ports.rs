//! The ports: what the verbs need of a node. `host/` implements them on a real one, `sim/` on one made of maps.

use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::record::Record;
use crate::model::device::{ClaimedDevice, PodDevices, PublishedDevice};
use crate::model::fault::{Fault, Outcome};
use crate::model::pod::{Annotations, Definition, Event, Pod, PodName};
use crate::model::sockets::PodVolume;
use crate::model::{Attachment, CniResult, ContainerId, IfName, NetnsPath, Network, Owner};
use crate::plan::claim::Claim;
use crate::plan::facts::{Answer, Question};
use crate::plan::resolve::Named;
use crate::plan::step::{ExecStep, Progress, Step};

/// Which network namespace a path stood for: the device and inode number of its file on nsfs, and its cookie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetnsId {
    /// Device number.
    pub dev: u64,
    /// Inode number. The kernel gives that of a namespace that is gone to the next one.
    pub ino: u64,
    /// What no other namespace of the boot has (`SO_NETNS_COOKIE`, from Linux 5.14 on), where the kernel tells it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cookie: Option<u64>,
}

impl NetnsId {
    /// Whether both may be the same namespace, for all that is known of them.
    pub fn may_be(&self, other: &Self) -> bool {
        let Self { dev, ino, cookie } = other;
        (self.dev, self.ino) == (*dev, *ino)
            && self.cookie.zip(*cookie).is_none_or(|(own, others)| own == others)
    }
}

/// What stands at the path of a network namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NetnsState {
    /// Nothing.
    Gone,
    /// Nothing, nor the directory it would be in: perhaps it can only not be seen from here, as from within a container.
    Unseen,
    /// The network namespace Manifold itself runs in.
    Own,
    /// Another network namespace.
    There(NetnsId),
}

/// Looks at the node and changes nothing.
pub trait Probe {
    /// What stands at this path.
    ///
    /// # Errors
    /// Something that is no network namespace, or that cannot be looked at.
    fn netns(&self, path: &NetnsPath) -> Outcome<NetnsState>;

    /// Answers one question; those about the pod's side need its namespace.
    ///
    /// # Errors
    /// The node could not be asked. That something is not there is an answer.
    fn answer(&self, question: &Question, netns: Option<&NetnsPath>) -> Outcome<Answer>;

    /// The identity of this boot (`/proc/sys/kernel/random/boot_id`).
    ///
    /// # Errors
    /// It could not be read.
    fn boot_id(&self) -> Outcome<String>;
}

/// For whom a step is done or undone.
#[derive(Debug, Clone, Copy)]
pub struct Site<'a> {
    /// The attachment.
    pub attachment: &'a Attachment,
    /// The pod's network namespace, if it is there.
    pub netns: Option<&'a NetnsPath>,
    /// The attachment's result, as far as it is known.
    pub result: Option<&'a CniResult>,
}

/// A step to undo, and for whom.
#[derive(Debug, Clone, Copy)]
pub struct Undo<'a> {
    /// For whom.
    pub site: Site<'a>,
    /// What.
    pub step: &'a Step,
}

/// Changes the node. For each step, `apply`, `revert` and `holds` stand side by side.
pub trait Hands {
    /// Does the step, notes in it what was learned, and adds to the progress what it yields.
    ///
    /// # Errors
    /// The step could not be done. It may have been done in part: the caller reverts it.
    fn apply(&self, site: Site<'_>, step: &mut Step, progress: &mut Progress) -> Outcome<()>;

    /// Undoes steps of one rank, and answers for each, in order.
    ///
    /// # Guarantees
    /// What is absent counts as undone. Only what carries our mark is touched, and where a step's link group is
    /// [`crate::plan::mark::UNMARKED`], an unmarked link of its name and kind. One failure does not keep the others.
    fn revert(&self, steps: &[Undo<'_>]) -> Vec<Outcome<()>>;

    /// Whether the step's effect is still there.
    ///
    /// # Errors
    /// [`crate::model::FaultKind::Drift`] says what is lost; others, that the node could not be asked.
    fn holds(&self, site: Site<'_>, step: &Step) -> Outcome<()>;

    /// Asks a plugin whether it could serve an ADD (STATUS).
    ///
    /// # Errors
    /// The plugin's own answer, or that it could not be run.
    fn status(&self, network: &Network, plugin: &ExecStep) -> Outcome<()>;

    /// Tells a plugin which attachments are valid (GC).
    ///
    /// # Errors
    /// The plugin's own answer, or that it could not be run.
    fn gc(&self, network: &Network, plugin: &ExecStep, valid: &[Owner]) -> Outcome<()>;

    /// Gives back what a store of addresses holds for containers that are not to be kept.
    ///
    /// # Guarantees
    /// Whether a container is to be kept is asked while nobody can take an address.
    ///
    /// # Errors
    /// The store could not be read, or an address not be given back.
    fn collect(&self, store: &Path, keep: &dyn Fn(&ContainerId) -> bool) -> Outcome<()>;
}

/// Knows networks by name.
pub trait Networks {
    /// The network of this name; without a namespace, of whatever namespace holds it.
    ///
    /// # Errors
    /// There is none, or what is there is no network.
    fn network(&self, namespace: Option<&str>, name: &str) -> Outcome<Named>;
}

/// Speaks with the cluster. Every call is bounded in time; what passes by itself is tried again within that time.
pub trait Cluster {
    /// The pod of this name; `None` if there is none.
    ///
    /// # Errors
    /// The API server could not be asked, or answered with another pod's UID ([`crate::model::FaultKind::TryLater`]).
    fn pod(&self, name: &PodName) -> Outcome<Option<Pod>>;

    /// The network definition of this name; `None` if there is none.
    ///
    /// # Errors
    /// The API server could not be asked.
    fn definition(&self, namespace: &str, name: &str) -> Outcome<Option<Definition>>;

    /// The devices of the pod's claims that its kubelet does not tell: those behind extended resources. A pod that is gone
    /// has none.
    ///
    /// # Errors
    /// The API server could not be asked.
    fn claimed(&self, pod: &PodName) -> Outcome<Vec<ClaimedDevice>>;

    /// What a driver of Dynamic Resource Allocation publishes of its devices on the pod's node. Devices that are not said
    /// to be of a resource are left out.
    ///
    /// # Errors
    /// The API server could not be asked, or knows no such devices.
    fn published(&self, pod: &PodName, driver: &str) -> Outcome<Vec<PublishedDevice>>;

    /// The volumes of the pod's; none of a pod that is gone.
    ///
    /// # Errors
    /// The API server could not be asked.
    fn volumes(&self, pod: &PodName) -> Outcome<Vec<PodVolume>>;

    /// Writes annotations of the pod's, and removes those without a value, if the pod is still the one named. A pod that
    /// is gone is no error.
    ///
    /// # Errors
    /// It could not be written.
    fn publish(&self, pod: &PodName, annotations: &Annotations) -> Outcome<()>;

    /// Tells an event of the pod.
    ///
    /// # Errors
    /// It could not be told.
    fn tell(&self, pod: &PodName, event: &Event) -> Outcome<()>;
}

/// Knows which devices a pod was given.
pub trait Devices {
    /// The devices of a pod, and those of its claims, by the names that their drivers have for them.
    ///
    /// # Errors
    /// Nobody could tell.
    fn of_pod(&self, pod: &PodName) -> Outcome<PodDevices>;
}

/// What the journal holds for one attachment.
#[derive(Debug)]
pub enum Entry {
    /// A record.
    Whole(Box<Record>),
    /// Something that is no record.
    Broken(Broken),
}

/// Something in the place of records that is none.
#[derive(Debug)]
pub struct Broken {
    /// The sandbox it was about.
    pub container: ContainerId,
    /// The interface it was about, if that can still be told: else it was about any.
    pub ifname: Option<IfName>,
    /// What is wrong with it.
    pub fault: Fault,
}

impl Broken {
    /// Whether it may be all that is left of the record of an attachment.
    pub fn may_be_of(&self, owner: &Owner) -> bool {
        self.container == owner.container && self.ifname.as_ref().is_none_or(|ifname| *ifname == owner.ifname)
    }

    /// What is wrong, and with whose record.
    pub fn into_fault(self) -> Fault {
        let what = format!("the record of {self} is not readable");
        self.fault.while_doing(what)
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.ifname {
            Some(ifname) => write!(f, "{}/{ifname}", self.container),
            None => write!(f, "sandbox {}", self.container),
        }
    }
}

/// How long to wait for a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// A bounded time, then [`crate::model::FaultKind::TryLater`].
    Wait,
    /// Not at all, then [`crate::model::FaultKind::TryLater`].
    Try,
}

/// Who has a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holder {
    /// The one who asked, now.
    You,
    /// Somebody else.
    Other(Owner),
}

/// Remembers what was done, across crashes and restarts.
pub trait Journal {
    /// The records of a sandbox, locked against every other Manifold on the node.
    ///
    /// # Errors
    /// [`crate::model::FaultKind::TryLater`] if somebody else has them for too long.
    fn lock(&self, container: &ContainerId, patience: Patience) -> Outcome<Box<dyn Records + '_>>;

    /// Whether records can be written now, as far as that is told by one of a sandbox that has none. Nothing is left of it.
    ///
    /// # Errors
    /// They cannot.
    fn is_writable(&self, container: &ContainerId) -> Outcome<()>;

    /// What a sandbox has on record now, in order of making, for those who only look. It may change meanwhile.
    ///
    /// # Errors
    /// The journal could not be read. What is no record is an answer.
    fn entries(&self, container: &ContainerId) -> Outcome<Vec<Entry>>;

    /// All containers that have entries.
    ///
    /// # Errors
    /// The journal could not be read.
    fn containers(&self) -> Outcome<Vec<ContainerId>>;

    /// Takes a claim for an owner unless somebody else has it.
    ///
    /// # Errors
    /// The journal could not be read or written.
    fn claim(&self, claim: &Claim, owner: &Owner) -> Outcome<Holder>;

    /// Who has a claim.
    ///
    /// # Errors
    /// The journal could not be read.
    fn holder(&self, claim: &Claim) -> Outcome<Option<Owner>>;

    /// Gives a claim up, if the owner has it.
    ///
    /// # Errors
    /// It still stands.
    fn release(&self, claim: &Claim, owner: &Owner) -> Outcome<()>;
}

/// The records of one sandbox. They are locked while this lives.
pub trait Records {
    /// All of them, in order of making.
    ///
    /// # Errors
    /// They could not be read. What is no record is an answer.
    fn entries(&self) -> Outcome<Vec<Entry>>;

    /// Writes a record whole; it takes the place of one of the same interface.
    ///
    /// # Errors
    /// It is not written; an earlier one stands.
    fn put(&self, record: &Record) -> Outcome<()>;

    /// Writes how far a record that was put has come ([`Record::mark`]).
    ///
    /// # Errors
    /// It is not written; the record stands as it was.
    fn mark(&self, record: &Record) -> Outcome<()>;

    /// Removes the records of these interfaces, as far as there are any.
    ///
    /// # Errors
    /// They still stand.
    fn remove(&self, ifnames: &[&IfName]) -> Outcome<()>;

    /// Moves what is on record of an interface, or without one all of which no interface can be told, out of the way,
    /// where a person can look at it.
    ///
    /// # Errors
    /// It still stands.
    fn set_aside(&self, ifname: Option<&IfName>) -> Outcome<()>;
}

/// The fault for an interface name that the pod has already: worded here, once for all adapters.
pub fn ifname_taken(ifname: &IfName) -> Fault {
    Fault::new(
        crate::model::FaultKind::Exists,
        format!("interface {:?} already exists in the pod", ifname.as_str()),
    )
    .remedy("choose another name for the interface, or DEL the old attachment first")
}
