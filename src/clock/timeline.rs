//! The server's own time, pure.
//!
//! A board without a battery wakes up in 1970, or at the moment of its last stop, and is set right
//! some time later, by years and in one step. So the server keeps a time of its own. It begins as
//! what the system says, and goes on by the monotonic clock, which nobody sets. When the system's
//! clock is set, the server's follows, but not unnoticed: first what was stamped by the wrong time is
//! moved along ([`Timeline::pending`], [`Timeline::adopt`]).
//!
//! Once WhatsApp has told the time, at each login, the server's own is certain, and the system's clock
//! is followed only while it says nearly the same: it may jump to 2040 and back, and nothing here does.

use super::Millis;

/// How far the system's clock may be from WhatsApp's word and be taken for the better one, in
/// milliseconds: WhatsApp tells whole seconds, some time later.
const NEAR: i64 = 60_000;
/// A difference up to this is no step: clocks are read one after the other, and slewed.
const SLIP: i64 = 1_000;

/// A moment before which no clock is right: this program did not exist (2026-11-01).
pub const EARLIEST: Millis = 1_793_491_200_000;

/// A step of the server's time: what was stamped from `from` to `to` happened `by` later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// When the server began to count by the time that proved wrong.
    pub from: Millis,
    pub to: Millis,
    /// Milliseconds.
    pub by: i64,
}

impl Step {
    /// Where a stamp is moved to; it stays if it is from another time.
    pub fn moved(&self, at: Millis) -> Millis {
        match (self.from..=self.to).contains(&at) {
            true => shift(at, self.by),
            false => at,
        }
    }
}

/// See the module's page. Times of the monotonic clock are `ticks`.
#[derive(Debug, Clone)]
pub struct Timeline {
    /// From ticks to the server's time.
    offset: i64,
    /// From ticks to what the system's clock said last.
    system: i64,
    /// From ticks to what WhatsApp said last, in this run.
    told: Option<i64>,
    /// Whether the system's clock is far from WhatsApp's word.
    strange: bool,
    /// The offset that is to become the server's.
    pending: Option<i64>,
    /// Since when the server counts by this offset.
    since: Millis,
}

impl Timeline {
    /// Begins at what the system's clock says.
    pub fn new(wall: Millis, ticks: Millis) -> Timeline {
        let offset = difference(wall, ticks);
        Timeline {
            offset,
            system: offset,
            told: None,
            strange: false,
            pending: None,
            since: wall,
        }
    }

    /// The server's time.
    pub fn at(&self, ticks: Millis) -> Millis {
        shift(ticks, self.offset)
    }

    /// Takes in what the system's clock says. Whether that is news: a step has become due, or the
    /// system's clock is believed no more, or again.
    pub fn see(&mut self, wall: Millis, ticks: Millis) -> bool {
        self.system = difference(wall, ticks);
        self.choose()
    }

    /// WhatsApp has told the time. Whether that is news, as for [`Timeline::see`]: the first time it is.
    pub fn hear(&mut self, told: Millis, ticks: Millis) -> bool {
        let first = self.told.replace(difference(told, ticks)).is_none();
        self.choose() || first
    }

    /// By what WhatsApp told and the time since, its own certificates are not good: more time has passed
    /// than was counted, as in a machine that slept. The system's clock is believed again, if it says
    /// otherwise. Whether that is news.
    pub fn distrust(&mut self) -> bool {
        if !self.strange {
            return false;
        }
        self.told = None;
        self.choose()
    }

    /// Whether WhatsApp has told the time in this run.
    pub fn is_certain(&self) -> bool {
        self.told.is_some() && self.pending.is_none()
    }

    /// What the system's clock says, if the server does not believe it.
    pub fn disbelieved(&self, ticks: Millis) -> Option<Millis> {
        self.strange.then(|| shift(ticks, self.system))
    }

    /// The step that is due.
    pub fn pending(&self, ticks: Millis) -> Option<Step> {
        let to = self.pending?;
        Some(Step {
            from: self.since,
            to: self.at(ticks),
            by: to.saturating_sub(self.offset),
        })
    }

    /// Takes a step that was due. If the clock was set again meanwhile, the rest is due next.
    pub fn adopt(&mut self, step: Step, ticks: Millis) {
        self.offset = self.offset.saturating_add(step.by);
        self.since = self.at(ticks);
        self.pending = None;
        self.choose();
    }

    fn choose(&mut self) -> bool {
        let strange = self.told.is_some_and(|told| far(self.system, told));
        let turned = std::mem::replace(&mut self.strange, strange) != strange;
        let target = match self.told {
            Some(told) if strange => match far(self.offset, told) {
                true => told,
                // What was near before is better than whole seconds.
                false => self.offset,
            },
            Some(_) | None => self.system,
        };
        let by = target.saturating_sub(self.offset).unsigned_abs();
        if by <= SLIP.unsigned_abs() {
            self.offset = target;
            self.pending = None;
            return turned;
        }
        let news = self
            .pending
            .is_none_or(|old| old.saturating_sub(target).unsigned_abs() > SLIP.unsigned_abs());
        self.pending = Some(target);
        news || turned
    }
}

fn far(a: i64, b: i64) -> bool {
    a.saturating_sub(b).unsigned_abs() > NEAR.unsigned_abs()
}

fn difference(a: Millis, b: Millis) -> i64 {
    signed(a).saturating_sub(signed(b))
}

fn shift(at: Millis, by: i64) -> Millis {
    Millis::try_from(signed(at).saturating_add(by)).unwrap_or(0)
}

fn signed(at: Millis) -> i64 {
    i64::try_from(at).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Millis = 1_000;
    const YEAR: Millis = 31_536_000_000;
    const NOW: Millis = EARLIEST + YEAR;

    #[test]
    fn it_goes_on_by_the_monotonic_clock_and_follows_a_slow_one() {
        let mut time = Timeline::new(NOW, 5);
        assert_eq!(time.at(1_005), NOW + SECOND);
        assert!(!time.see(NOW + SECOND + 400, 1_005));
        assert_eq!(time.at(1_005), NOW + SECOND + 400);
        assert_eq!(time.pending(1_005), None);
        assert!(!time.is_certain());
    }

    #[test]
    fn a_clock_that_is_set_is_followed_after_the_stamps() {
        let mut time = Timeline::new(10 * SECOND, 0);
        assert!(time.see(NOW, 20 * SECOND), "news once");
        assert!(!time.see(NOW + SECOND, 21 * SECOND), "and once only");
        assert_eq!(
            time.at(21 * SECOND),
            31 * SECOND,
            "not before it is adopted"
        );
        let step = time.pending(21 * SECOND).expect("a step");
        assert_eq!((step.from, step.to), (10 * SECOND, 31 * SECOND));
        assert_eq!(step.moved(30 * SECOND), NOW);
        time.adopt(step, 21 * SECOND);
        assert_eq!(time.at(21 * SECOND), NOW + SECOND);
        assert_eq!(time.pending(22 * SECOND), None);
        // Back again: only what was stamped since.
        assert!(time.see(60 * SECOND, 50 * SECOND));
        let step = time.pending(50 * SECOND).expect("a step");
        assert_eq!((step.from, step.to), (NOW + SECOND, NOW + 30 * SECOND));
        assert_eq!(step.moved(NOW + 30 * SECOND), 60 * SECOND);
    }

    #[test]
    fn a_step_that_is_taken_back_in_time_is_none() {
        let mut time = Timeline::new(NOW, 0);
        assert!(time.see(NOW + YEAR, 0));
        assert!(!time.see(NOW + SECOND, SECOND));
        assert_eq!(time.pending(SECOND), None);
    }

    #[test]
    fn what_whatsapp_said_holds_against_every_jump() {
        let mut time = Timeline::new(NOW, 0);
        assert!(time.hear(NOW - 3 * SECOND, 0), "from now on it is certain");
        assert!(!time.hear(NOW - 2 * SECOND, 0), "the system's is near");
        assert!(time.is_certain());
        for (n, jump) in [0, 10 * SECOND, NOW + 14 * YEAR, NOW - YEAR / 2]
            .into_iter()
            .enumerate()
        {
            assert_eq!(time.see(jump, 60 * SECOND), n == 0, "said once");
            assert_eq!(time.at(60 * SECOND), NOW + 60 * SECOND);
            assert_eq!(time.disbelieved(60 * SECOND), Some(jump));
        }
        // Set right again, within what is near.
        assert!(time.see(NOW + 90 * SECOND, 60 * SECOND));
        let step = time.pending(60 * SECOND).expect("a step");
        time.adopt(step, 60 * SECOND);
        assert_eq!(time.at(60 * SECOND), NOW + 90 * SECOND);
        assert_eq!(time.disbelieved(60 * SECOND), None);
    }

    #[test]
    fn a_clock_that_is_set_again_while_stamps_are_moved_is_followed_in_two_steps() {
        let mut time = Timeline::new(NOW, 0);
        time.see(NOW + 14 * YEAR, 0);
        let step = time.pending(0).expect("a step");
        assert!(time.see(NOW + YEAR, 0));
        time.adopt(step, 0);
        let rest = time.pending(0).expect("the rest");
        time.adopt(rest, 0);
        assert_eq!((time.at(0), time.pending(0)), (NOW + YEAR, None));
    }

    #[test]
    fn many_small_steps_lead_nowhere_far() {
        let mut time = Timeline::new(NOW, 0);
        time.hear(NOW, 0);
        for n in 1..100 {
            time.see(NOW + n * 30 * SECOND, 0);
            if let Some(step) = time.pending(0) {
                time.adopt(step, 0);
            }
        }
        assert_eq!(time.at(0), NOW + 60 * SECOND);
    }

    #[test]
    fn whatsapps_word_sets_a_clock_that_is_wrong() {
        let mut time = Timeline::new(NOW + YEAR / 12, 0);
        assert!(time.hear(NOW, 0));
        assert!(!time.is_certain(), "not before the stamps are moved");
        let step = time.pending(0).expect("a step");
        time.adopt(step, 0);
        assert!(time.is_certain());
        assert_eq!(time.at(0), NOW);
        assert_eq!(time.disbelieved(0), Some(NOW + YEAR / 12));
    }

    #[test]
    fn a_machine_that_slept_believes_its_clock_once_certificates_say_so() {
        let mut time = Timeline::new(NOW, 0);
        time.hear(NOW, 0);
        assert!(!time.distrust(), "there is nothing else to believe");
        assert!(time.is_certain());
        // A year that no tick has counted.
        time.see(NOW + YEAR, SECOND);
        assert_eq!(time.at(SECOND), NOW + SECOND);
        assert!(time.distrust());
        let step = time.pending(SECOND).expect("a step");
        time.adopt(step, SECOND);
        assert_eq!(time.at(SECOND), NOW + YEAR);
        assert!(!time.is_certain());
    }

    #[test]
    fn no_clock_overflows_it() {
        for wall in [0, 1, u64::MAX] {
            let mut time = Timeline::new(wall, u64::MAX);
            time.see(u64::MAX, 0);
            time.hear(0, u64::MAX);
            if let Some(step) = time.pending(0) {
                time.adopt(step, u64::MAX);
            }
            let _ = (time.at(0), time.at(u64::MAX), time.disbelieved(0));
        }
    }
}
