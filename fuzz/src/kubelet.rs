//! What the kubelet answers at its socket. Each of its calls is answered by what comes next in the input: a byte that tells
//! how, a length in two bytes, and so many bytes.

use std::fs;
use std::os::unix::fs::symlink;

use manifold::engine::ports::Devices;
use manifold::host::kubelet::Kubelet;
use manifold::model::device::PodDevices;
use manifold::model::pod::PodName;

use crate::{peer, stand};

/// Stands in an input for bytes that are sent as they are, between other frames. Any other number is that of the status
/// behind a message.
const FRAMES: u8 = 0xff;
/// What a client says first (RFC 9113, section 3.4).
const PREFACE: usize = 24;
/// Length of a frame's header (RFC 9113, section 4.1).
const HEADER: usize = 9;

pub(crate) fn run(data: &[u8]) {
    let folder = peer::folder();
    let root = folder.path();
    fs::create_dir(root.join("pod-resources")).unwrap();
    let mut script = Answers { left: data.to_vec(), stream: [0, 0, 0, 1], greeted: false };
    peer::with(&mut script, |place| {
        symlink(place, root.join("pod-resources/kubelet.sock")).unwrap();
        match Kubelet::new(root).of_pod(&pod()) {
            Ok(devices) => handed_out(&devices),
            Err(fault) => stand::told(&fault),
        }
    });
}

pub(crate) fn pod() -> PodName {
    PodName { namespace: "default".into(), name: "p".into(), uid: Some("u".into()) }
}

/// A resource is told once, and a device is the name of a folder at most.
pub(crate) fn handed_out(devices: &PodDevices) {
    for allotment in devices.all() {
        assert_eq!(devices.devices(&allotment.resource), allotment.devices);
        assert!(allotment.devices.iter().all(|id| !id.as_str().contains('/')));
    }
}

/// Answers by what is left of the input.
struct Answers {
    left: Vec<u8>,
    /// The number of the last call.
    stream: [u8; 4],
    greeted: bool,
}

impl Answers {
    /// The next of the input: how, and what.
    fn next(&mut self) -> Option<(u8, Vec<u8>)> {
        let [how, high, low] = *self.left.first_chunk()?;
        let mut what = self.left.split_off(3);
        let length = usize::from(u16::from_be_bytes([high, low])).min(what.len());
        self.left = what.split_off(length);
        Some((how, what))
    }

    /// A message, and the status behind it.
    fn message(&self, status: u8, message: &[u8]) -> Vec<u8> {
        let length = u32::try_from(message.len()).unwrap();
        // 200, and the type of the content.
        let head = [&[0x88, 0x0f, 0x10, 16][..], b"application/grpc"].concat();
        let body = [&[0], &length.to_be_bytes()[..], message].concat();
        let status = status.to_string();
        let tail = [&[0, 11][..], b"grpc-status", &[status.len() as u8], status.as_bytes()].concat();
        [self.frame(1, 4, &head), self.frame(0, 0, &body), self.frame(1, 5, &tail)].concat()
    }

    fn frame(&self, kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags], &self.stream, payload].concat()
    }
}

impl peer::Script for Answers {
    fn request(&mut self, unread: &[u8]) -> Option<usize> {
        let length = if self.greeted {
            let [high, middle, low] = *unread.get(..HEADER)?.first_chunk()?;
            HEADER + u32::from_be_bytes([0, high, middle, low]) as usize
        } else {
            PREFACE
        };
        (length <= unread.len()).then_some(length)
    }

    fn answer(&mut self, request: &[u8]) -> Option<Vec<u8>> {
        if !self.greeted {
            self.greeted = true;
            // Settings, of which there are none.
            return Some(vec![0, 0, 0, 4, 0, 0, 0, 0, 0]);
        }
        // Data that ends a call; who waits without a call is answered, too.
        match request.first_chunk() {
            Some([_, _, _, 0, flags, a, b, c, d]) if flags & 1 == 1 => self.stream = [*a, *b, *c, *d],
            Some(_) => return Some(Vec::new()),
            None => {}
        }
        let (how, what) = self.next()?;
        Some(if how == FRAMES { what } else { self.message(how, &what) })
    }

    fn is_over(&self) -> bool {
        self.left.is_empty()
    }
}
