//! `passthru`: makes nothing. The first of a chain whose other plugins do their work beside any interface.

use crate::model::fault::Outcome;
use crate::plan::facts::{Facts, Question};
use crate::plan::keys::{self, Known};
use crate::plan::kind::{Ask, Kind, Wanted};
use crate::plan::step::Step;

/// The plugin type `passthru`, which the peer ships.
pub(super) struct Passthru;

impl Kind for Passthru {
    fn plugin_type(&self) -> &'static str {
        "passthru"
    }

    fn keys(&self) -> &'static [&'static Known] {
        &[&keys::EVERYWHERE]
    }

    fn takes_mac(&self) -> bool {
        false
    }

    fn read(&self, _ask: Ask<'_>) -> Outcome<Box<dyn Wanted>> {
        Ok(Box::new(Self))
    }
}

impl Wanted for Passthru {
    fn questions(&self) -> Vec<Question> {
        Vec::new()
    }

    fn steps(&self, _facts: &Facts) -> Outcome<Vec<Step>> {
        Ok(vec![Step::Pass])
    }

    fn traces(&self) -> Vec<Step> {
        Vec::new()
    }
}
