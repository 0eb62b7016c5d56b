//! `exec`: any plugin, run as CNI prescribes.

use crate::model::PluginConf;
use crate::model::fault::Outcome;
use crate::plan::facts::{Facts, Question};
use crate::plan::keys::Known;
use crate::plan::kind::{Ask, Kind, Wanted};
use crate::plan::step::{ExecStep, Step, Yields};

/// Every plugin type that no native Kind stands for.
pub(super) struct Exec;

struct Plugin(PluginConf);

impl Kind for Exec {
    fn plugin_type(&self) -> &'static str {
        "exec"
    }

    fn keys(&self) -> &'static [&'static Known] {
        &[]
    }

    fn read(&self, ask: Ask<'_>) -> Outcome<Box<dyn Wanted>> {
        Ok(Box::new(Plugin(ask.conf.clone())))
    }
}

impl Wanted for Plugin {
    fn questions(&self) -> Vec<Question> {
        // A plugin that is not there is found out before anything is changed.
        vec![Question::Program(self.0.kind().clone())]
    }

    fn steps(&self, _facts: &Facts) -> Outcome<Vec<Step>> {
        Ok(self.traces())
    }

    fn traces(&self) -> Vec<Step> {
        let Self(conf) = self;
        vec![Step::Exec(ExecStep {
            program: conf.kind().clone(),
            conf: conf.clone(),
            yields: Yields::Result,
        })]
    }
}
