//! Which interface of a pod has its default routes, where the pod asks for that (`default-route` of the networks
//! annotation): decided over all its attachments, before any is made.

use crate::model::fault::{Fault, Outcome};
use crate::model::{Attachment, FaultKind};

/// Lets every attachment give up the default routes that another one takes.
///
/// # Errors
/// More than one gateway of a family: a pod has one default route of each.
pub fn share(attachments: &mut [Attachment]) -> Outcome<()> {
    for ipv4 in [true, false] {
        let Some(taker) = taker(attachments, ipv4)? else { continue };
        let others = attachments.iter_mut().enumerate().filter(|(at, _)| *at != taker);
        for (_, other) in others {
            let yields = if ipv4 { &mut other.routing.yield_ipv4 } else { &mut other.routing.yield_ipv6 };
            *yields = true;
        }
    }
    Ok(())
}

/// The one attachment that takes the default route of a family, by its place.
fn taker(attachments: &[Attachment], ipv4: bool) -> Outcome<Option<usize>> {
    let each = attachments.iter().enumerate();
    let mut gateways = each.flat_map(|(at, attachment)| {
        let asked = attachment.routing.take_default.iter().filter(move |gateway| gateway.is_ipv4() == ipv4);
        asked.map(move |gateway| (at, attachment, gateway))
    });
    let Some((at, first, one)) = gateways.next() else { return Ok(None) };
    let Some((_, second, other)) = gateways.next() else { return Ok(Some(at)) };
    let family = if ipv4 { "IPv4" } else { "IPv6" };
    let what = format!(
        "\"default-route\" asks for two {family} gateways: {one} for {:?} ({}) and {other} for {:?} ({})",
        first.owner.ifname.as_str(),
        first.label,
        second.owner.ifname.as_str(),
        second.label
    );
    Err(Fault::new(FaultKind::Config, what).remedy(format!(
        "name one {family} gateway among all networks of the pod: several default routes at once (ECMP) are not supported"
    )))
}
