//! Shapes of Fargate pods, and their price.
//!
//! Source: EKS user guide, "Understand Fargate Pod configuration details"; AWS Fargate pricing.

use crate::quote::FargateRates;

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// Memory that Fargate adds for kubelet, kube-proxy and the container runtime.
const OWN_MIB: u64 = 256;

/// vCPUs in thousandths; the least memory, the most, and the step between, in GiB. A quarter of a vCPU also comes with
/// half a GiB.
const SHAPES: [(u32, u32, u32, u32); 7] = [
    (250, 1, 2, 1),
    (500, 1, 4, 1),
    (1_000, 2, 8, 1),
    (2_000, 4, 16, 1),
    (4_000, 8, 30, 1),
    (8_000, 16, 60, 4),
    (16_000, 32, 120, 8),
];

/// Disk that costs nothing.
const FREE_DISK_GIB: u64 = 20;

/// The most disk that pods may ask for.
pub const MAX_DISK_GIB: u64 = 175;

/// The shortest run that is billed, in seconds.
const SHORTEST_SECONDS: u64 = 60;

/// Fargate's rates that are compiled in: AWS Fargate pricing, Linux on x86, 2026. Those of other regions are 10 to 30 %
/// higher and not guessed.
pub fn embedded_rates(region: &str) -> Option<FargateRates> {
    (region == "us-east-1").then_some(FargateRates { vcpu: 0.040_48, gb: 0.004_445, storage_gb: 0.000_111 })
}

/// What a pod asks for: of each resource the larger of its largest init container and the sum of its containers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PodRequest {
    /// CPU in thousandths.
    pub cpu_millis: u64,
    /// Memory in bytes.
    pub memory_bytes: u64,
    /// Disk in bytes.
    pub disk_bytes: u64,
}

/// What Fargate provisions and bills for a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Shape {
    /// vCPUs in thousandths.
    pub cpu_millis: u32,
    /// Memory in MiB.
    pub memory_mib: u32,
    /// Disk in GiB, 20 of which cost nothing.
    pub disk_gib: u32,
}

/// What of a pod no shape holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TooLarge {
    /// More than 16 vCPUs.
    Cpu,
    /// More than 120 GiB of memory, Fargate's own 256 MiB included.
    Memory,
    /// More than 175 GiB of disk.
    Disk,
}

impl Shape {
    /// The smallest shape that holds a pod.
    ///
    /// ```
    /// use stowage_pricing::fargate::{PodRequest, Shape};
    ///
    /// // AWS's own example: 8 GiB and 256 MiB are more than a vCPU comes with.
    /// let request = PodRequest { cpu_millis: 1_000, memory_bytes: 8 << 30, disk_bytes: 0 };
    /// assert_eq!(Shape::for_pod(request), Ok(Shape { cpu_millis: 2_000, memory_mib: 9 * 1024, disk_gib: 20 }));
    /// ```
    ///
    /// # Errors
    /// Names all that is too large.
    pub fn for_pod(request: PodRequest) -> Result<Self, Vec<TooLarge>> {
        let memory_mib = request.memory_bytes.div_ceil(MIB).saturating_add(OWN_MIB);
        let disk_gib = provisioned_disk(request.disk_bytes);
        let fits = |(cpu, least, most, step): (u32, u32, u32, u32)| {
            if u64::from(cpu) < request.cpu_millis || memory_mib > u64::from(most) * 1024 {
                return None;
            }
            if cpu == SHAPES[0].0 && memory_mib <= 512 {
                return Some((cpu, 512));
            }
            let beyond = memory_mib.div_ceil(1024).saturating_sub(u64::from(least));
            let gib = u64::from(least) + beyond.div_ceil(u64::from(step)) * u64::from(step);
            Some((cpu, gib.min(u64::from(most)) as u32 * 1024))
        };
        let shape = SHAPES.into_iter().find_map(fits);
        match (shape, disk_gib) {
            (Some((cpu_millis, memory_mib)), Some(disk_gib)) => Ok(Self { cpu_millis, memory_mib, disk_gib }),
            (shape, disk) => {
                let (largest, _, most, _) = SHAPES[SHAPES.len() - 1];
                let cpu = request.cpu_millis > u64::from(largest);
                let memory = memory_mib > u64::from(most) * 1024;
                let all = [
                    (shape.is_none() && cpu, TooLarge::Cpu),
                    (shape.is_none() && memory, TooLarge::Memory),
                    (disk.is_none(), TooLarge::Disk),
                ];
                Err(all.into_iter().filter(|(is, _)| *is).map(|(_, what)| what).collect())
            }
        }
    }

    /// What an hour of it costs.
    pub fn hourly(self, rates: FargateRates) -> f64 {
        let extra = u64::from(self.disk_gib).saturating_sub(FREE_DISK_GIB);
        f64::from(self.cpu_millis) / 1000.0 * rates.vcpu
            + f64::from(self.memory_mib) / 1024.0 * rates.gb
            + extra as f64 * rates.storage_gb
    }
}

/// GiB of disk that a pod gets for what it asks: a tenth more, and 5 GiB for the system; 20 at least. `None` for more than
/// may be asked for.
fn provisioned_disk(asked: u64) -> Option<u32> {
    if asked > MAX_DISK_GIB * GIB {
        return None;
    }
    let bytes = asked + asked.div_ceil(10) + 5 * GIB;
    Some(if asked == 0 { FREE_DISK_GIB } else { bytes.div_ceil(GIB).max(FREE_DISK_GIB) } as u32)
}

/// What an hour of a pod costs on Fargate.
///
/// # Errors
/// Names all that is too large.
pub fn hourly_price(request: PodRequest, rates: FargateRates) -> Result<f64, Vec<TooLarge>> {
    Ok(Shape::for_pod(request)?.hourly(rates))
}

/// What a run costs: by the second, a minute at least.
pub fn price_of_run(hourly: f64, seconds: u64) -> f64 {
    hourly * seconds.max(SHORTEST_SECONDS) as f64 / 3600.0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// us-east-1, 2026.
    const RATES: FargateRates = FargateRates { vcpu: 0.040_48, gb: 0.004_445, storage_gb: 0.000_111 };

    fn request(cpu_millis: u64, memory_mib: u64, disk_gib: u64) -> PodRequest {
        PodRequest { cpu_millis, memory_bytes: memory_mib * MIB, disk_bytes: disk_gib * GIB }
    }

    fn shape(cpu_millis: u64, memory_mib: u64) -> (u32, f64) {
        let shape = Shape::for_pod(request(cpu_millis, memory_mib, 0)).unwrap();
        (shape.cpu_millis, f64::from(shape.memory_mib) / 1024.0)
    }

    #[test]
    fn shapes_are_rounded_up_with_256_mib_more() {
        for (cpu, mib, expected) in [
            (0, 0, (250, 0.5)),
            (250, 256, (250, 0.5)),
            (250, 257, (250, 1.0)),
            (250, 768, (250, 1.0)),
            (250, 1_792, (250, 2.0)),
            (250, 1_793, (500, 3.0)),
            (251, 0, (500, 1.0)),
            (500, 3_841, (1_000, 5.0)),
            (1_000, 7_936, (1_000, 8.0)),
            (1_000, 8_192, (2_000, 9.0)),
            (2_000, 0, (2_000, 4.0)),
            (4_000, 30 * 1024 - 256, (4_000, 30.0)),
            (4_000, 30 * 1024, (8_000, 32.0)),
            (4_001, 0, (8_000, 16.0)),
            (8_000, 17 * 1024, (8_000, 20.0)),
            (8_000, 60 * 1024, (16_000, 64.0)),
            (16_000, 120 * 1024 - 256, (16_000, 120.0)),
        ] {
            assert_eq!(shape(cpu, mib), expected, "{cpu}m {mib}Mi");
        }
    }

    #[test]
    fn what_no_shape_holds() {
        let too_large = |cpu, mib, disk| Shape::for_pod(request(cpu, mib, disk)).unwrap_err();
        assert_eq!(too_large(16_001, 0, 0), [TooLarge::Cpu]);
        assert_eq!(too_large(0, 120 * 1024 - 255, 0), [TooLarge::Memory]);
        assert_eq!(too_large(0, 0, 176), [TooLarge::Disk]);
        let all = PodRequest { cpu_millis: u64::MAX, memory_bytes: u64::MAX, disk_bytes: u64::MAX };
        assert_eq!(Shape::for_pod(all).unwrap_err(), [TooLarge::Cpu, TooLarge::Memory, TooLarge::Disk]);
    }

    /// $0.25 × 0.04048 + 0.5 × 0.004445 = $0.0123425 an hour, so $9.01 in 730 hours.
    #[test]
    fn prices() {
        let of = |cpu, mib, disk| hourly_price(request(cpu, mib, disk), RATES).unwrap();
        assert!((of(0, 0, 0) * 730.0 - 9.01).abs() < 0.001);
        // A vCPU and 2 GB: 0.04048 + 0.00889.
        assert!((of(1_000, 1_024, 0) - 0.049_37).abs() < 1e-9);
        // 50 GiB asked for are 55 and 5 more: 40 of 60 are billed.
        assert!((of(1_000, 1_024, 50) - 0.049_37 - 40.0 * 0.000_111).abs() < 1e-9);
        assert_eq!(Shape::for_pod(request(0, 0, 10)).unwrap().disk_gib, 20);
        assert_eq!(Shape::for_pod(request(0, 0, 175)).unwrap().disk_gib, 198);
        assert!((price_of_run(0.06, 10) - 0.001).abs() < 1e-12);
        assert!((price_of_run(0.06, 7_200) - 0.12).abs() < 1e-12);
    }

    /// Fargate for 2 vCPUs and 8 GB is 0.11652; m7i.large is $0.1008, so Fargate wins below 87 % use.
    #[test]
    fn break_even_with_an_instance() {
        let fargate = Shape { cpu_millis: 2_000, memory_mib: 8 * 1024, disk_gib: 20 }.hourly(RATES);
        assert!((fargate - 0.116_52).abs() < 1e-9);
        let used = |share: f64| fargate * share;
        assert!(used(0.86) < 0.1008 && used(0.87) > 0.1008);
    }
}
