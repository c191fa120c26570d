//! The server's time. Pure.
//!
//! A board without a battery boots in 1970 or at the time of its last stop, and is set later, by years in
//! one step. So the server keeps its own time: it starts at the system's and advances by the monotonic
//! clock. When the system's clock is set, the server's follows, but first timestamps made by the wrong time
//! are moved ([`Timeline::pending`], [`Timeline::adopt`]).
//!
//! WhatsApp sends the time at each login. From then on the server's time is certain, and follows the
//! system's clock only while that is near: it may jump to 2040 and back without effect.

use super::Millis;

/// The system's clock is used while it is within this distance of WhatsApp's time, in ms: WhatsApp's has
/// a resolution of seconds, and arrives late.
const NEAR: i64 = 60_000;
/// A difference up to this, in ms, is no step: the clocks are read one after the other, and slewed.
const SLIP: i64 = 1_000;

/// Any earlier time (2026-11-01) is wrong: this program did not exist.
pub const EARLIEST: Millis = 1_793_491_200_000;

/// A step of the server's time: timestamps between `from` and `to` are to be moved by `by`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// The first moment of the wrong time.
    pub from: Millis,
    pub to: Millis,
    /// Milliseconds.
    pub by: i64,
}

impl Step {
    /// A timestamp after the step; unchanged outside of `from` to `to`.
    pub fn moved(&self, at: Millis) -> Millis {
        match (self.from..=self.to).contains(&at) {
            true => shift(at, self.by),
            false => at,
        }
    }
}

/// See the module's documentation. `ticks` are times of the monotonic clock.
#[derive(Debug, Clone)]
pub struct Timeline {
    /// The server's time minus ticks.
    offset: i64,
    /// The last time of the system's clock minus ticks.
    system: i64,
    /// The last time that WhatsApp sent in this run, minus ticks.
    theirs: Option<i64>,
    /// The system's clock is far from WhatsApp's time.
    strange: bool,
    /// The server's next offset.
    pending: Option<i64>,
    /// When the current offset began.
    since: Millis,
}

impl Timeline {
    /// Starts at the system's time.
    pub fn new(wall: Millis, ticks: Millis) -> Timeline {
        let offset = difference(wall, ticks);
        Timeline {
            offset,
            system: offset,
            theirs: None,
            strange: false,
            pending: None,
            since: wall,
        }
    }

    /// The server's time.
    pub fn at(&self, ticks: Millis) -> Millis {
        shift(ticks, self.offset)
    }

    /// Takes the system's time. Returns true if a step becomes due, or the system's clock becomes trusted or
    /// distrusted.
    pub fn see(&mut self, wall: Millis, ticks: Millis) -> bool {
        self.system = difference(wall, ticks);
        self.choose()
    }

    /// Takes WhatsApp's time. Returns true as [`Timeline::see`] does, and the first time.
    pub fn hear(&mut self, theirs: Millis, ticks: Millis) -> bool {
        let first = self.theirs.replace(difference(theirs, ticks)).is_none();
        self.choose() || first
    }

    /// Drops WhatsApp's time, because by it WhatsApp's certificates are not valid: the monotonic clock has
    /// missed time, as in a machine that slept. Does nothing unless the system's clock differs. Returns
    /// true as [`Timeline::see`] does.
    pub fn distrust(&mut self) -> bool {
        if !self.strange {
            return false;
        }
        self.theirs = None;
        self.choose()
    }

    /// Whether the time is WhatsApp's, and no step is due.
    pub fn is_certain(&self) -> bool {
        self.theirs.is_some() && self.pending.is_none()
    }

    /// The system's time, if it is not trusted.
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

    /// Takes a step. If the clock was set again since it was due, the rest is due next.
    pub fn adopt(&mut self, step: Step, ticks: Millis) {
        self.offset = self.offset.saturating_add(step.by);
        self.since = self.at(ticks);
        self.pending = None;
        self.choose();
    }

    fn choose(&mut self) -> bool {
        let strange = self.theirs.is_some_and(|theirs| far(self.system, theirs));
        let turned = std::mem::replace(&mut self.strange, strange) != strange;
        let target = match self.theirs {
            Some(theirs) if strange => match far(self.offset, theirs) {
                true => theirs,
                // Nearer than WhatsApp's resolution of a second.
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
    fn it_advances_by_the_monotonic_clock_and_follows_slewing() {
        let mut time = Timeline::new(NOW, 5);
        assert_eq!(time.at(1_005), NOW + SECOND);
        assert!(!time.see(NOW + SECOND + 400, 1_005));
        assert_eq!(time.at(1_005), NOW + SECOND + 400);
        assert_eq!(time.pending(1_005), None);
        assert!(!time.is_certain());
    }

    #[test]
    fn a_step_is_taken_after_the_timestamps_are_moved() {
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
        // Set back: only timestamps since then move.
        assert!(time.see(60 * SECOND, 50 * SECOND));
        let step = time.pending(50 * SECOND).expect("a step");
        assert_eq!((step.from, step.to), (NOW + SECOND, NOW + 30 * SECOND));
        assert_eq!(step.moved(NOW + 30 * SECOND), 60 * SECOND);
    }

    #[test]
    fn a_step_that_is_reverted_before_it_is_taken_is_dropped() {
        let mut time = Timeline::new(NOW, 0);
        assert!(time.see(NOW + YEAR, 0));
        assert!(!time.see(NOW + SECOND, SECOND));
        assert_eq!(time.pending(SECOND), None);
    }

    #[test]
    fn whatsapps_time_withstands_jumps_of_the_system() {
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
        // Set right again: near WhatsApp's time.
        assert!(time.see(NOW + 90 * SECOND, 60 * SECOND));
        let step = time.pending(60 * SECOND).expect("a step");
        time.adopt(step, 60 * SECOND);
        assert_eq!(time.at(60 * SECOND), NOW + 90 * SECOND);
        assert_eq!(time.disbelieved(60 * SECOND), None);
    }

    #[test]
    fn a_clock_that_is_set_again_while_timestamps_are_moved_takes_two_steps() {
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
    fn many_small_steps_stay_near_whatsapps_time() {
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
    fn whatsapps_time_corrects_a_wrong_clock() {
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
    fn after_sleep_invalid_certificates_restore_the_systems_clock() {
        let mut time = Timeline::new(NOW, 0);
        time.hear(NOW, 0);
        assert!(!time.distrust(), "there is nothing else to believe");
        assert!(time.is_certain());
        // A year that the monotonic clock has missed.
        time.see(NOW + YEAR, SECOND);
        assert_eq!(time.at(SECOND), NOW + SECOND);
        assert!(time.distrust());
        let step = time.pending(SECOND).expect("a step");
        time.adopt(step, SECOND);
        assert_eq!(time.at(SECOND), NOW + YEAR);
        assert!(!time.is_certain());
    }

    #[test]
    fn extreme_times_do_not_overflow() {
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
