//! Answers of the kernel: a datagram, and the objects in it.

use manifold::host::netlink::{addr, answer, device, link, route, vf};

pub(crate) fn run(data: &[u8]) {
    if let Ok(Ok(messages)) = answer::whole(data) {
        // A message has a header of its own.
        assert!(messages.len() <= data.len() / 16);
        for message in &messages {
            let _link = link::read(message);
            let _device = device::read(message);
            let _address = addr::read(message);
            let hops = route::read(message);
            // A next hop has a header of eight bytes.
            assert!(hops.len() <= 1 + data.len() / 8);
        }
    }
    let sequence = data.get(8..12).map_or(0, |bytes| u32::from_ne_bytes(bytes.try_into().unwrap()));
    if let Ok(Some(Ok(object))) = answer::object(data, sequence) {
        assert!(object.len() + 16 <= data.len());
        of_vf(&object);
    }
    of_vf(data);
}

/// All that is told of a VF but its rates fits what it is for.
fn of_vf(object: &[u8]) {
    for number in 0..3 {
        let seen = vf::read(object, number);
        let settings = seen.and_then(|pf| pf.settings).unwrap_or_default();
        // An address that no link can have is none.
        assert!(settings.mac.is_none_or(|mac| mac.bytes()[0] & 1 == 0 && mac.bytes() != [0; 6]));
    }
}
