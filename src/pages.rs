//! What is mapped of files into this process, and how it is let go.
//!
//! Each page of a file that is touched counts as this process's memory from then on, and the system takes
//! it back from a program last of all. Unmapped, it stays in the system's cache, the first that goes when
//! a board is short of memory; who needs it again has it mapped again, which costs a few microseconds and
//! no disk.

use std::io;
use std::path::Path;

/// A part of the address space that shows a file, as `/proc/self/maps` lists it (proc_pid_maps(5)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mapping<'a> {
    /// Bytes, from the start of the address space.
    pub address: usize,
    /// Bytes.
    pub length: usize,
    /// As the kernel writes them: "r-xp".
    pub rights: &'a str,
    /// Where in the file it starts.
    pub offset: u64,
    pub file: &'a Path,
}

/// What `/proc/self/maps` says.
pub fn mappings(maps: &str) -> impl Iterator<Item = Mapping<'_>> {
    // "7f0000000000-7f0004000000 r--s 00000000 fe:00 1234    /data/db/data.mdb"
    maps.lines().filter_map(|line| {
        let mut fields = line.splitn(6, ' ');
        let (start, end) = fields.next()?.split_once('-')?;
        let rights = fields.next()?;
        let offset = u64::from_str_radix(fields.next()?, 16).ok()?;
        let address = usize::from_str_radix(start, 16).ok()?;
        let length = usize::from_str_radix(end, 16).ok()?.checked_sub(address)?;
        let file = fields.nth(2)?.trim_start();
        file.starts_with('/').then_some(Mapping {
            address,
            length,
            rights,
            offset,
            file: Path::new(file),
        })
    })
}

/// Lets go of the program's own pages: what only the start or a rare moment needed.
///
/// # Errors
///
/// Where `/proc` does not say where they are; nothing is lost then but the memory.
pub fn let_go_of_program() -> io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        let program = std::fs::read_link("/proc/self/exe")?;
        let maps = std::fs::read_to_string("/proc/self/maps")?;
        for part in mappings(&maps).filter(|part| part.file == program && is_as_in_file(part)) {
            // SAFETY: neither code nor constants are ever written to, so that who reads on, on whatever
            // thread, finds the same bytes, from the same file.
            unsafe { let_go(part.address, part.length) }?;
        }
    }
    Ok(())
}

/// Whether a part of the program is in memory as it is in its file: code is, and what comes before it. What
/// comes after it can be addresses, which are filled in at the start and protected only then.
#[cfg(target_os = "linux")]
fn is_as_in_file(part: &Mapping<'_>) -> bool {
    match part.rights {
        "r-xp" => true,
        "r--p" => part.offset == 0,
        _ => false,
    }
}

/// Unmaps the pages of a part until they are touched again.
///
/// # Safety
///
/// All of it must be a map of a file in which nothing differs from the file.
///
/// # Errors
///
/// The kernel's.
#[cfg(target_os = "linux")]
pub unsafe fn let_go(address: usize, length: usize) -> io::Result<()> {
    let start = std::ptr::with_exposed_provenance_mut(address);
    // SAFETY: the caller's word.
    match unsafe { libc::madvise(start, length, libc::MADV_DONTNEED) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    const MAPS: &str = "\
00010000-002e6000 r--p 00000000 08:02 173521      /usr/bin/wildcat
002f6000-00a0e000 r-xp 002c6000 08:02 173521      /usr/bin/wildcat
00a1e000-00a1f000 r--p 009ee000 08:02 173521      /usr/bin/wildcat
00a2e000-00a30000 rw-p 009ee000 08:02 173521      /usr/bin/wildcat
00a30000-00a51000 rw-p 00000000 00:00 0           [heap]
b2000000-b6000000 r--s 00000000 08:02 98                         /my data/db/data.mdb
b6d00000-b6d21000 rw-p 00000000 00:00 0 
nonsense";

    #[test]
    fn mappings_of_files_are_read_and_nothing_else() {
        let files: Vec<_> = mappings(MAPS).collect();
        assert_eq!(files.len(), 5);
        assert_eq!(
            files[4],
            Mapping {
                address: 0xb200_0000,
                length: 0x0400_0000,
                rights: "r--s",
                offset: 0,
                file: Path::new("/my data/db/data.mdb"),
            }
        );
    }

    #[test]
    fn of_a_program_only_what_nobody_writes_to_goes() {
        let starts: Vec<_> = mappings(MAPS)
            .filter(|part| part.file == Path::new("/usr/bin/wildcat") && is_as_in_file(part))
            .map(|part| part.address)
            .collect();
        assert_eq!(starts, [0x10000, 0x2f6000]);
    }

    /// Bytes of this program's code that are mapped.
    fn resident() -> u64 {
        let program = std::fs::read_link("/proc/self/exe").unwrap();
        let parts = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let mut is_code = false;
        let mut sum = 0;
        for line in parts.lines() {
            if line.contains('-') && !line.starts_with("Rss:") {
                is_code = line.contains(" r-xp ") && line.ends_with(program.to_str().unwrap());
            } else if let Some(size) = line.strip_prefix("Rss:").filter(|_| is_code) {
                let size = size.trim().strip_suffix(" kB").unwrap();
                sum += size.parse::<u64>().unwrap() * 1024;
            }
        }
        sum
    }

    #[test]
    fn a_program_runs_on_without_the_pages_that_it_has_let_go() {
        // All of its code once.
        let program = std::fs::read_link("/proc/self/exe").unwrap();
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        for part in mappings(&maps).filter(|part| part.file == program && part.rights == "r-xp") {
            for page in (part.address..part.address + part.length).step_by(4096) {
                let byte: *const u8 = std::ptr::with_exposed_provenance(page);
                // SAFETY: it is mapped, and for reading.
                std::hint::black_box(unsafe { byte.read_volatile() });
            }
        }
        let before = resident();
        assert!(before > 2 << 20, "{before}");
        let_go_of_program().unwrap();
        // Others of this program's tests run meanwhile, and need theirs.
        let after = resident();
        assert!(after < before / 2, "{after} of {before}");
    }
}
