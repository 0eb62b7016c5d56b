//! From an attachment to its plan: read the chain, ask the node, plan. Nothing here changes anything.

use super::Node;
use super::ports::ifname_taken;
use crate::model::Attachment;
use crate::model::fault::{Fault, Outcome};
use crate::plan::chain;
use crate::plan::claim::Claim;
use crate::plan::facts::{Answer, Facts, LinkFacts, Place, Question};
use crate::plan::kind::Wanted;
use crate::plan::step::Step;

/// What an attachment asks for: the configurations of its chain, read and found right. Whoever asks it for more hands
/// it the same attachment again.
pub struct Read {
    wanted: Vec<Box<dyn Wanted>>,
}

/// Reads and checks the chain of an attachment, without looking at the node.
///
/// # Errors
/// The first configuration that can never be right, named by attachment and plugin.
pub fn read(attachment: &Attachment) -> Outcome<Read> {
    Ok(Read { wanted: chain::read(attachment)? })
}

/// What has no effect on an attachment: what its Kinds found `unused` when they read it, what nobody reads, and what the
/// pod asked for in vain.
pub(super) fn warnings(attachment: &Attachment, mut unused: Vec<String>) -> Vec<String> {
    unused.extend(chain::unread(attachment));
    unused
}

impl Read {
    /// What the attachment must have for itself.
    ///
    /// # Errors
    /// A claim that cannot be named.
    pub fn claims(&self, attachment: &Attachment) -> Outcome<Vec<Claim>> {
        let each: Outcome<Vec<Vec<Claim>>> = self.wanted.iter().map(|w| w.claims()).collect();
        let named = |fault: Fault| {
            let Attachment { owner, label, .. } = attachment;
            fault.while_doing(format!("cannot attach {:?} ({label})", owner.ifname.as_str()))
        };
        let mut claims: Vec<Claim> = each.map_err(named)?.into_iter().flatten().collect();
        // A VF that the kubelet gave is named by its plugin as well: it is one device, and one claim.
        claims.extend(chain::claims(attachment)?.filter(|device| !claims.contains(device)));
        Ok(claims)
    }

    /// What was written in its configurations, or asked for by the pod, and has no effect.
    pub fn warnings(&self, attachment: &Attachment) -> Vec<String> {
        warnings(attachment, self.unused())
    }

    /// What was read of them and has no effect.
    pub(super) fn unused(&self) -> Vec<String> {
        self.wanted.iter().flat_map(|wanted| wanted.warnings()).collect()
    }

    /// Surveys the node and plans.
    ///
    /// # Errors
    /// The node lacks something, or could not be asked.
    pub fn plan(&self, node: &Node<'_>, attachment: &Attachment) -> Outcome<Vec<Step>> {
        if runs_a_plugin_for_it(attachment) && namesake(node, attachment)?.is_some() {
            return Err(ifname_taken(&attachment.owner.ifname));
        }
        self.steps(node, attachment)
    }

    /// The same, whether or not the pod has an interface of that name.
    ///
    /// # Errors
    /// As [`Read::plan`].
    pub(super) fn steps(&self, node: &Node<'_>, attachment: &Attachment) -> Outcome<Vec<Step>> {
        let mut steps: Vec<Step> = chain::head(attachment).into_iter().collect();
        for wanted in &self.wanted {
            steps.extend(plan_one(node, attachment, wanted.as_ref())?);
        }
        steps.extend(chain::tail(attachment));
        Ok(steps)
    }

    /// Whether the attachment could be planned, as far as the node can tell without a pod.
    ///
    /// # Errors
    /// As [`Read::plan`].
    pub fn plan_without_pod(&self, node: &Node<'_>, attachment: &Attachment) -> Outcome<()> {
        let needs_pod = |w: &dyn Wanted| w.questions().iter().any(Question::is_about_the_pod);
        self.wanted
            .iter()
            .filter(|w| !needs_pod(w.as_ref()))
            .try_for_each(|w| plan_one(node, attachment, w.as_ref()).map(drop))
    }

    /// Steps whose undoing removes whatever such an attachment may have left, for when its record is lost.
    pub fn traces(&self, attachment: &Attachment) -> Vec<Step> {
        let plugins = self.wanted.iter().flat_map(|w| w.traces());
        let around = chain::head(attachment).into_iter().chain(chain::cache(attachment));
        plugins.chain(around).collect()
    }
}

/// Whether a plugin is run for the interface: its DEL takes down whatever is called so, and after a failed ADD it would
/// be somebody else's. Of `lo` there is one in every pod.
pub(super) fn runs_a_plugin_for_it(attachment: &Attachment) -> bool {
    let Attachment { owner, network, .. } = attachment;
    owner.ifname.as_str() != "lo" && chain::run_as_processes(network).next().is_some()
}

/// The interface of that name which the pod has already.
///
/// # Errors
/// The node could not be asked.
pub(super) fn namesake(node: &Node<'_>, attachment: &Attachment) -> Outcome<Option<LinkFacts>> {
    let Attachment { owner, netns, .. } = attachment;
    let namesake = Question::Link(Place::Pod, owner.ifname.clone());
    let answer = node.probe.answer(&namesake, netns.as_ref())?;
    Ok(if let Answer::Link(link) = answer { Some(link) } else { None })
}

fn plan_one(node: &Node<'_>, attachment: &Attachment, wanted: &dyn Wanted) -> Outcome<Vec<Step>> {
    let mut facts = Facts::default();
    for question in wanted.questions() {
        let answer = node.probe.answer(&question, attachment.netns.as_ref())?;
        facts.note(question, answer);
    }
    wanted.steps(&facts)
}
