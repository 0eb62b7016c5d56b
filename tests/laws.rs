//! The laws, on the simulated node: each over thousands of random cases, and each shown to fail under a mutant that
//! breaks what it protects. Beside them, that every record survives writing and reading.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test may panic"
)]

mod law;

use law::{Case, Mutant, case};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};

type Law = fn(&Case, Mutant) -> Result<(), TestCaseError>;

/// `PROPTEST_CASES` asks for more.
fn config() -> Config {
    let asked = Config { failure_persistence: None, ..Config::default() };
    Config { cases: asked.cases.max(1200), ..asked }
}

/// The law holds for every case.
fn stands(law: Law) {
    let mut runner = TestRunner::new(config());
    runner.run(&case(), |case| law(&case, Mutant::None)).unwrap();
}

/// Some case shows that the mutant breaks the law.
fn falls_to(mutant: Mutant, law: Law) {
    let config = Config { max_shrink_iters: 0, ..config() };
    let broken = TestRunner::new(config).run(&case(), |case| law(&case, mutant));
    assert!(broken.is_err(), "{mutant:?} goes unnoticed");
}

#[test]
fn add_then_del_twice_is_nothing() {
    stands(law::add_then_del_twice_is_nothing);
    falls_to(Mutant::LeavesLeases, law::add_then_del_twice_is_nothing);
}

#[test]
fn a_refused_step_leaves_nothing() {
    stands(law::a_refused_step_leaves_nothing);
    falls_to(Mutant::LeavesLeases, law::a_refused_step_leaves_nothing);
}

#[test]
fn a_crash_anywhere_and_again_in_recovery_leaves_nothing() {
    stands(law::a_crash_leaves_nothing);
    falls_to(Mutant::RecordAfterEffects, law::a_crash_leaves_nothing);
}

#[test]
fn a_vanished_pod_gives_back_what_the_node_lent() {
    stands(law::a_vanished_pod_gives_everything_back);
    falls_to(Mutant::NeedsNetns, law::a_vanished_pod_gives_everything_back);
}

#[test]
fn check_sees_each_loss() {
    stands(law::check_sees_each_loss);
    falls_to(Mutant::BlindCheck, law::check_sees_each_loss);
}

#[test]
fn one_stuck_step_does_not_keep_the_others_and_the_record_stays() {
    stands(law::one_stuck_step_does_not_keep_the_others);
    falls_to(Mutant::StopsAtFirstError, law::one_stuck_step_does_not_keep_the_others);
}

#[test]
fn neighbours_do_not_feel_it() {
    stands(law::neighbours_do_not_feel_it);
    falls_to(Mutant::NoOwnerMark, law::neighbours_do_not_feel_it);
}

#[test]
fn a_device_changes_hands_cleanly_and_a_late_del_harms_nobody() {
    stands(law::a_device_changes_hands);
    falls_to(Mutant::NoClaim, law::a_device_changes_hands);
}

#[test]
fn gc_undoes_what_is_not_valid_and_nothing_else() {
    stands(law::gc_prunes_the_rest);
    falls_to(Mutant::NoOwnerMark, law::gc_prunes_the_rest);
    falls_to(Mutant::LeavesLeases, law::gc_prunes_the_rest);
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_record_survives_writing_and_reading(case in case()) {
        law::records_round_trip(&case)?;
    }
}
