//! The free space that files must leave on the disk. Pure, except for the shared state.

use std::sync::{Arc, Mutex, MutexGuard};

use event_listener::{Event, EventListener};

use crate::clock::Millis;
use crate::sync::locked;

/// The space of a disk, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Disk {
    pub total: u64,
    /// Free for this process.
    pub free: u64,
}

impl Disk {
    /// The largest reserve, in bytes; that of a smaller disk is a tenth.
    const MOST: u64 = 1 << 30;

    /// Bytes that files must leave free.
    pub fn reserve(self) -> u64 {
        (self.total / 10).min(Disk::MOST)
    }

    /// Bytes of files to remove.
    pub fn missing(self) -> u64 {
        self.reserve().saturating_sub(self.free)
    }
}

/// Whether files are being removed because the disk has too little free space. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Space(Arc<State>);

#[derive(Debug, Default)]
struct State {
    short_since: Mutex<Option<Millis>>,
    grown: Event,
}

/// The change of the state at a check of the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpaceNews {
    /// The oldest files are removed from now on.
    Began,
    /// There is enough space again.
    Ended,
    /// No change.
    Nothing,
}

impl Space {
    /// Since when files are being removed.
    pub fn short_since(&self) -> Option<Millis> {
        *self.lock()
    }

    /// Updates the state. Removal restores the reserve exactly, so the state ends when free space exceeds it
    /// by a quarter.
    pub fn look(&self, disk: Disk, now: Millis) -> SpaceNews {
        let mut since = self.lock();
        let enough = disk.reserve();
        match *since {
            None if disk.free < enough => {
                *since = Some(now);
                SpaceNews::Began
            }
            Some(_) if disk.free >= enough.saturating_add(enough / 4) => {
                *since = None;
                SpaceNews::Ended
            }
            None | Some(_) => SpaceNews::Nothing,
        }
    }

    /// Notifies that a file was stored.
    pub fn file_came(&self) {
        self.0.grown.notify(usize::MAX);
    }

    /// Resolves when the next file is stored.
    pub fn files(&self) -> EventListener {
        self.0.grown.listen()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Millis>> {
        locked(&self.0.short_since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    fn disk(total: u64, free: u64) -> Disk {
        Disk { total, free }
    }

    #[test]
    fn a_tenth_stays_free_or_a_gibibyte() {
        for (total, enough) in [
            (256 * GIB, GIB),
            (10 * GIB, GIB),
            (4_000, 400),
            (0, 0),
            (u64::MAX, GIB),
        ] {
            assert_eq!(disk(total, 0).reserve(), enough, "{total}");
            assert_eq!(disk(total, 0).missing(), enough);
            assert_eq!(disk(total, enough).missing(), 0);
        }
        assert_eq!(disk(4_000, 150).missing(), 250);
    }

    #[test]
    fn the_beginning_is_reported_once() {
        let space = Space::default();
        assert_eq!(space.look(disk(1_000, 100), 1), SpaceNews::Nothing);
        assert_eq!(space.look(disk(1_000, 99), 2), SpaceNews::Began);
        for (free, now) in [(0, 3), (99, 4), (100, 5), (124, 6), (99, 7)] {
            assert_eq!(
                space.look(disk(1_000, free), now),
                SpaceNews::Nothing,
                "{free}"
            );
            assert_eq!(space.short_since(), Some(2));
        }
        assert_eq!(space.look(disk(1_000, 125), 8), SpaceNews::Ended);
        assert_eq!(space.short_since(), None);
        assert_eq!(space.look(disk(1_000, 100), 9), SpaceNews::Nothing);
    }
}
