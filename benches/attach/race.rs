//! Contenders take turns, so that whatever else the machine does meets all of them alike.

use std::time::{Duration, Instant};

/// Rounds before the first that counts.
const WARM_UP: usize = 3;

/// How often each contender attaches in so many rounds.
pub(crate) fn turns(rounds: usize) -> usize {
    rounds + WARM_UP
}

/// Someone who makes attachments and takes them down, every time the same.
pub(crate) struct Contender {
    name: String,
    prepare: Box<dyn FnMut()>,
    add: Box<dyn FnMut()>,
    del: Box<dyn FnMut()>,
}

impl Contender {
    pub(crate) fn new(
        name: impl Into<String>,
        add: impl FnMut() + 'static,
        del: impl FnMut() + 'static,
    ) -> Self {
        Self { name: name.into(), prepare: Box::new(|| ()), add: Box::new(add), del: Box::new(del) }
    }

    /// Has at hand for each ADD what its caller would have: that is not in its time.
    pub(crate) fn preparing(self, prepare: impl FnMut() + 'static) -> Self {
        Self { prepare: Box::new(prepare), ..self }
    }
}

/// Everybody's times, in order of rounds.
pub(crate) struct Times(Vec<Lane>);

struct Lane {
    name: String,
    adds: Vec<Duration>,
    dels: Vec<Duration>,
}

/// A contender and its times for one verb, in order of rounds.
pub(crate) type Row<'a> = (&'a str, &'a [Duration]);

impl Times {
    pub(crate) fn adds(&self) -> Vec<Row<'_>> {
        self.0.iter().map(|lane| (lane.name.as_str(), lane.adds.as_slice())).collect()
    }

    pub(crate) fn dels(&self) -> Vec<Row<'_>> {
        self.0.iter().map(|lane| (lane.name.as_str(), lane.dels.as_slice())).collect()
    }
}

/// Who comes at each place of a round.
///
/// Whoever comes after another process finds the processor's caches full of what is not its own. So each follows each
/// other equally often, as E. J. Williams arranged treatments whose effects carry over (1949).
fn order(round: usize, count: usize) -> Vec<usize> {
    let inwards = (0..count).map(|place| if place % 2 == 0 { place / 2 } else { count - place.div_ceil(2) });
    let mut order: Vec<usize> = inwards.map(|number| (number + round) % count).collect();
    if round / count % 2 == 1 {
        order.reverse();
    }
    order
}

/// Lets the contenders take turns.
pub(crate) fn race(rounds: usize, mut contenders: Vec<Contender>) -> Times {
    let lane = |c: &Contender| Lane { name: c.name.clone(), adds: Vec::new(), dels: Vec::new() };
    let mut lanes: Vec<Lane> = contenders.iter().map(lane).collect();
    for round in 0..WARM_UP + rounds {
        for number in order(round, contenders.len()) {
            let (contender, lane) = (&mut contenders[number], &mut lanes[number]);
            (contender.prepare)();
            let add = timed(&mut contender.add);
            let del = timed(&mut contender.del);
            if round >= WARM_UP {
                lane.adds.push(add);
                lane.dels.push(del);
            }
        }
    }
    Times(lanes)
}

fn timed(work: &mut dyn FnMut()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}
