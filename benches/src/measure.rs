//! Peak memory of this process, as Linux counts it.

use std::fs;

/// Makes the kernel forget the largest resident set so far, so that reading files does not count; says whether it could.
pub fn reset_peak() -> bool {
    // proc(5): writing 5 to clear_refs resets the peak to what is resident now.
    fs::write("/proc/self/clear_refs", "5").is_ok()
}

/// The largest resident set in bytes; 0 where the system does not tell.
pub fn peak_bytes() -> u64 {
    fs::read_to_string("/proc/self/status").map_or(0, |status| high_water(&status))
}

fn high_water(status: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|rest| rest.trim().trim_end_matches("kB").trim().parse::<u64>().ok());
    kib.map_or(0, |kib| kib.saturating_mul(1024))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_high_water_mark_is_in_kibibytes() {
        assert_eq!(high_water("VmPeak:\t 9 kB\nVmHWM:\t   2048 kB\nVmRSS:\t 1 kB\n"), 2048 * 1024);
        assert_eq!(high_water("nothing of the kind"), 0);
    }

    #[test]
    fn memory_in_use_shows() {
        if !reset_peak() {
            // Not Linux, or a container that forbids it: nothing to measure.
            return;
        }
        let before = peak_bytes();
        let block = vec![1_u8; 64 << 20];
        assert!(std::hint::black_box(&block).iter().step_by(4096).all(|b| *b == 1));
        assert!(peak_bytes() >= before.max(60 << 20), "64 MiB more than {before}");
    }
}
