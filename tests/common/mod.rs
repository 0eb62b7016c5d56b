//! Network namespaces to throw away: one for the test, as the node, and one for each pod.
//!
//! A test enters its node first; what its thread starts or makes from then on is in there, and is gone with it. The
//! machine's own interfaces are never seen.

#![allow(dead_code, reason = "every test uses its part")]
#![allow(clippy::expect_used, reason = "a test may panic")]

use std::io;
use std::marker::PhantomData;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

use manifold::model::NetnsPath;
use netlink_packet_core::{NLM_F_ACK, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{LinkFlags, LinkMessage};
use nix::sched::{CloneFlags, unshare};

/// The calling thread is in a network namespace of its own, whose `lo` is up. It ends with the thread.
#[derive(Debug)]
pub(crate) struct Node(PhantomData<*const ()>);

/// A network namespace with nothing but a `lo` that is down, kept by a thread that waits in it.
#[derive(Debug)]
pub(crate) struct Pod {
    path: NetnsPath,
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

type Job = Box<dyn FnOnce() + Send>;

impl Node {
    /// Takes the calling thread out of the machine's network namespace, for good.
    pub(crate) fn enter() -> io::Result<Self> {
        leave_the_network()?;
        bring_lo_up()?;
        Ok(Self(PhantomData))
    }

    /// A new pod.
    pub(crate) fn pod(&self) -> io::Result<Pod> {
        let (jobs, queue) = channel::<Job>();
        let (ready, path) = channel();
        let thread = std::thread::spawn(move || {
            let path = leave_the_network().and_then(|()| own_path());
            ready.send(path).expect("the test waits");
            queue.into_iter().for_each(|job| job());
        });
        let path = path.recv().map_err(io::Error::other)??;
        Ok(Pod { path, jobs: Some(jobs), thread: Some(thread) })
    }
}

impl Pod {
    /// The path of the pod's network namespace.
    pub(crate) fn path(&self) -> &NetnsPath {
        &self.path
    }

    /// Does something inside the pod's network namespace.
    pub(crate) fn inside<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        let (done, result) = channel();
        let job = Box::new(move || done.send(job()).expect("the test waits"));
        self.jobs.as_ref().expect("the pod lives").send(job).expect("the pod's thread lives");
        result.recv().expect("the job ends")
    }

    /// The names of the pod's interfaces, sorted.
    pub(crate) fn interfaces(&self) -> Vec<String> {
        self.inside(|| interfaces("/proc/thread-self/net/dev"))
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        self.jobs = None;
        self.thread.take().map(JoinHandle::join);
    }
}

/// The interface names in a file such as `/proc/net/dev`, sorted.
pub(crate) fn interfaces(file: &str) -> Vec<String> {
    let text = std::fs::read_to_string(file).expect("the kernel lists its interfaces");
    let names = text.lines().skip(2).filter_map(|line| line.split_once(':'));
    let mut names: Vec<String> = names.map(|(name, _)| name.trim().to_owned()).collect();
    names.sort();
    names
}

fn leave_the_network() -> io::Result<()> {
    unshare(CloneFlags::CLONE_NEWNET).map_err(|errno| {
        io::Error::other(format!("cannot make a network namespace ({errno}): run this test as root"))
    })
}

fn own_path() -> io::Result<NetnsPath> {
    let (process, thread) = (std::process::id(), nix::unistd::gettid());
    format!("/proc/{process}/task/{thread}/ns/net").parse().map_err(io::Error::other)
}

/// Brings link 1, which is `lo` in every network namespace, up.
fn bring_lo_up() -> io::Result<()> {
    let mut link = LinkMessage::default();
    link.header.index = 1;
    link.header.flags = LinkFlags::Up;
    link.header.change_mask = LinkFlags::Up;
    let mut request = NetlinkMessage::from(RouteNetlinkMessage::SetLink(link));
    request.header.flags = NLM_F_REQUEST | NLM_F_ACK;
    request.finalize();
    let mut bytes = vec![0; request.buffer_len()];
    request.serialize(&mut bytes);

    let mut socket = netlink_sys::Socket::new(netlink_sys::protocols::NETLINK_ROUTE)?;
    socket.bind_auto()?;
    socket.send_to(&bytes, &netlink_sys::SocketAddr::new(0, 0), 0)?;
    let (answer, _) = socket.recv_from_full()?;
    let answer = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&answer).map_err(io::Error::other)?;
    if let NetlinkPayload::Error(error) = answer.payload
        && error.code.is_some()
    {
        return Err(error.to_io());
    }
    Ok(())
}
