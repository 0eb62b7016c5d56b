//! Where a socket is: in a volume of the pod, or in a directory made for its sandbox.

use std::path::{Path, PathBuf};

use super::mark;
use super::port::SocketHome;
use crate::model::fault::{Fault, Outcome};
use crate::model::sockets::{Volume, VolumeSource};
use crate::model::vhost_user::{MAX_SOCKET_PATH, SocketFile, VolumeName};
use crate::model::{FaultKind, Owner, SocketGround};

/// What a network says of where its sockets are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlaceAsked {
    /// The pod's volume.
    pub volume: VolumeName,
    /// The directory beneath which one is made for each sandbox, where the pod has no such volume.
    pub base: Option<PathBuf>,
    /// The key that names it, for errors.
    pub base_key: &'static str,
    /// The socket's name; without one, the interface's, with the sandbox's before it where others may be beside it.
    pub file: Option<SocketFile>,
}

/// Where a socket is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Its directory.
    pub home: SocketHome,
    /// Its name.
    pub file: SocketFile,
    /// Its path as the switch is told: by way of the link, if there is one.
    pub switch_path: PathBuf,
    /// A short link to its directory.
    pub link: Option<PathBuf>,
    /// Its directory as the pod's containers have it, if that is known.
    pub mount: Option<PathBuf>,
    /// Whether sockets of other pods may be in the same directory.
    pub shared: bool,
}

impl PlaceAsked {
    /// The directory of the node that the network, or the pod, names in its own words; `None` if it is the pod's own.
    pub fn named_directory<'a>(&'a self, ground: &'a SocketGround) -> Option<&'a Path> {
        match self.volume_of(ground).map(|volume| &volume.source) {
            Some(VolumeSource::HostPath(path)) => Some(path),
            Some(VolumeSource::EmptyDir(_) | VolumeSource::ReadOnly(_) | VolumeSource::Other) => None,
            None => self.base.as_deref(),
        }
    }

    /// Whether it is a directory of the node, which others may have too.
    pub fn is_the_nodes(&self, ground: &SocketGround) -> bool {
        self.volume_of(ground).is_some_and(|volume| matches!(volume.source, VolumeSource::HostPath(_)))
    }

    fn volume_of<'a>(&self, ground: &'a SocketGround) -> Option<&'a Volume> {
        ground.volumes.iter().find(|volume| volume.name == self.volume.as_str())
    }

    /// The name of a socket that no other pod's can be beside.
    ///
    /// # Errors
    /// The interface's name can be no socket's, and the network gives none.
    pub fn name(&self, owner: &Owner) -> Outcome<SocketFile> {
        self.file.clone().map_or_else(|| owner.ifname.as_str().parse(), Ok)
    }

    /// Finds the place.
    ///
    /// # Errors
    /// Nothing is named in which a socket could be; or its path would be longer than a socket's can be.
    pub fn find(&self, owner: &Owner, ground: &SocketGround) -> Outcome<Place> {
        let volume = self.volume_of(ground);
        let mount = volume.and_then(|volume| volume.mounts.first().cloned());
        let (home, shared) = match volume.map(|volume| &volume.source) {
            Some(VolumeSource::EmptyDir(path)) => (SocketHome::Volume(path.clone()), false),
            Some(VolumeSource::HostPath(path)) => (SocketHome::Volume(path.clone()), true),
            Some(VolumeSource::ReadOnly(path)) => return Err(self.read_only(path)),
            Some(VolumeSource::Other) => return Err(self.unfit_volume()),
            None => match &self.base {
                Some(base) => (SocketHome::Own(base.clone(), mark::short_id(&owner.container)), false),
                None => return Err(self.nowhere()),
            },
        };
        let file = if shared && self.file.is_none() {
            format!("{}-{}", mark::short_id(&owner.container), owner.ifname).parse()?
        } else {
            self.name(owner)?
        };
        let direct = home.path().join(file.as_str());
        let (switch_path, link) = if fits(&direct) {
            (direct, None)
        } else {
            let link = ground.switches.link_dir.join(mark::link_name(owner));
            (link.join(file.as_str()), Some(link))
        };
        if !fits(&switch_path) {
            return Err(too_long(&switch_path));
        }
        Ok(Place { home, file, switch_path, link, mount, shared })
    }

    fn nowhere(&self) -> Fault {
        let Self { volume, base_key, .. } = self;
        Fault::new(FaultKind::Absent, format!("the pod has no volume {:?} for its sockets", volume.as_str()))
            .remedy(format!(
                "give the pod an emptyDir volume {:?} and mount it, or set {base_key:?} in the network",
                volume.as_str()
            ))
    }

    fn read_only(&self, path: &Path) -> Fault {
        let volume = self.volume.as_str();
        Fault::new(
            FaultKind::Config,
            format!("no container of the pod may write into its volume {volume:?}, {path:?} of the node"),
        )
        .remedy("mount it without \"readOnly\", or use an emptyDir")
    }

    fn unfit_volume(&self) -> Fault {
        Fault::new(
            FaultKind::Config,
            format!("volume {:?} of the pod is no directory of this node", self.volume.as_str()),
        )
        .remedy("make it an emptyDir, or a hostPath")
    }
}

impl Place {
    /// The socket's path on the node.
    pub fn path(&self) -> PathBuf {
        self.home.path().join(self.file.as_str())
    }

    /// The socket's path as the pod has it; on the node, where nobody could tell.
    pub fn pod_path(&self) -> String {
        let directory = self.mount.clone().unwrap_or_else(|| self.home.path());
        directory.join(self.file.as_str()).to_string_lossy().into_owned()
    }
}

fn fits(path: &Path) -> bool {
    path.as_os_str().len() <= MAX_SOCKET_PATH
}

fn too_long(path: &Path) -> Fault {
    let (path, length) = (path.to_string_lossy(), path.as_os_str().len());
    Fault::new(FaultKind::Config, format!("socket path {path:?} has {length} bytes")).remedy(format!(
        "shorten the socket's name, or \"linkDir\" of Manifold's \"vhostUser\": a socket's path has at most \
             {MAX_SOCKET_PATH} bytes"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const EMPTY_DIR: &str =
        "/var/lib/kubelet/pods/0f3a6c1e-5d55-4f7e-9a0e-2b8d8c1f6a77/volumes/kubernetes.io~empty-dir/";

    fn owner() -> Owner {
        Owner::parse("0958c8871b3210958c8871b321", "net1").unwrap()
    }

    fn asked(volume: &str, base: Option<&str>, file: Option<&str>) -> PlaceAsked {
        PlaceAsked {
            volume: volume.parse().unwrap(),
            base: base.map(PathBuf::from),
            base_key: "socketDir",
            file: file.map(|file| file.parse().unwrap()),
        }
    }

    fn ground(name: &str, source: VolumeSource) -> SocketGround {
        let mounts = vec!["/sockets".into(), "/elsewhere".into()];
        SocketGround { volumes: vec![Volume { name: name.to_owned(), source, mounts }], ..Default::default() }
    }

    fn empty_dir(name: &str) -> SocketGround {
        ground(name, VolumeSource::EmptyDir(format!("{EMPTY_DIR}{name}").into()))
    }

    #[test]
    fn a_short_name_in_the_pods_own_volume_needs_no_link() {
        let place = asked("vhost", Some("/not/used"), None).find(&owner(), &empty_dir("vhost")).unwrap();

        assert_eq!(place.path(), PathBuf::from(format!("{EMPTY_DIR}vhost/net1")));
        assert_eq!(
            (place.path().as_os_str().len(), &place.switch_path, &place.link),
            (101, &place.path(), &None)
        );
        assert_eq!((place.pod_path().as_str(), place.shared), ("/sockets/net1", false));
    }

    #[test]
    fn a_path_that_is_too_long_for_a_socket_goes_by_a_short_link() {
        let long = asked("shared-dir", None, Some("0958c8871b32-net1"));
        let place = long.find(&owner(), &empty_dir("shared-dir")).unwrap();

        let link = place.link.unwrap();
        assert_eq!(link.parent(), Some(Path::new("/run/manifold/v")));
        assert_eq!(place.switch_path, link.join("0958c8871b32-net1"));
        assert!(place.switch_path.as_os_str().len() <= MAX_SOCKET_PATH);
    }

    #[test]
    fn what_even_a_link_does_not_shorten_is_refused() {
        let mut ground = empty_dir("shared-dir");
        ground.switches.link_dir = format!("/run/{}", "x".repeat(90)).into();

        let fault = asked("shared-dir", None, Some("0958c8871b32-net1")).find(&owner(), &ground).unwrap_err();

        assert_eq!(fault.kind(), FaultKind::Config);
        assert!(fault.to_string().ends_with(" has 126 bytes"), "{fault}");
    }

    #[test]
    fn in_a_directory_that_pods_share_each_socket_has_a_name_of_its_own() {
        let ground = ground("vhost", VolumeSource::HostPath("/srv/v".into()));
        let place = asked("vhost", None, None).find(&owner(), &ground).unwrap();

        assert_eq!(place.path(), PathBuf::from("/srv/v/0958c8871b32-net1"));
        assert!(place.shared);
        assert_eq!(asked("vhost", None, None).named_directory(&ground), Some(Path::new("/srv/v")));
    }

    #[test]
    fn without_a_volume_each_sandbox_has_a_directory_beneath_the_networks() {
        let asked = asked("vhost", Some("/srv/v"), None);
        let place = asked.find(&owner(), &SocketGround::default()).unwrap();

        assert_eq!(place.home, SocketHome::Own("/srv/v".into(), "0958c8871b32".into()));
        assert_eq!(place.pod_path(), "/srv/v/0958c8871b32/net1");
        assert_eq!(asked.named_directory(&empty_dir("other")), Some(Path::new("/srv/v")));
        assert_eq!(asked.named_directory(&empty_dir("vhost")), None);
    }

    #[test]
    fn a_pod_without_a_place_is_told_what_to_do() {
        let nowhere = asked("vhost", None, None).find(&owner(), &SocketGround::default()).unwrap_err();
        assert_eq!(nowhere.to_string(), "the pod has no volume \"vhost\" for its sockets");
        let ground = ground("vhost", VolumeSource::Other);
        let unfit = asked("vhost", Some("/srv/v"), None).find(&owner(), &ground).unwrap_err();
        assert_eq!(unfit.to_string(), "volume \"vhost\" of the pod is no directory of this node");
    }

    #[test]
    fn what_a_pod_may_only_read_is_no_place_for_its_socket() {
        let ground = ground("vhost", VolumeSource::ReadOnly("/run/containerd".into()));
        let fault = asked("vhost", None, Some("containerd.sock")).find(&owner(), &ground).unwrap_err();

        assert_eq!(
            fault.to_string(),
            "no container of the pod may write into its volume \"vhost\", \"/run/containerd\" of the node"
        );
    }

    proptest! {
        #[test]
        fn no_path_longer_than_a_sockets_is_told_to_a_switch(
            base in "(/[a-z]{1,30}){1,6}", link in "(/[a-z]{1,30}){1,5}", file in "[a-z]{1,64}",
        ) {
            let mut ground = SocketGround::default();
            ground.switches.link_dir = link.into();
            if let Ok(place) = asked("v", Some(&base), Some(&file)).find(&owner(), &ground) {
                prop_assert!(place.switch_path.as_os_str().len() <= MAX_SOCKET_PATH);
                prop_assert!(place.path().starts_with(&base));
                prop_assert_eq!(place.link.is_some(), place.path().as_os_str().len() > MAX_SOCKET_PATH);
            }
        }
    }
}
