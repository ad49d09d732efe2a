//! What can be wrong with a catalogue, in words for the person who asked for it.

/// Why there is no catalogue.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No region of this name is known.
    #[error("there is no region {region:?} in the embedded catalogue; {hint}")]
    UnknownRegion {
        /// As asked for.
        region: String,
        /// The nearest names, or all.
        hint: String,
    },
    /// The region's zones are known, its prices are not.
    #[error(
        "no prices for region {region} are embedded (only for {priced}); ask AWS with --live, or give --catalog FILE, \
         which `stowage catalog import --region {region} --prices FILE` makes from saved answers"
    )]
    NoPrices {
        /// The region.
        region: String,
        /// Regions that have both.
        priced: String,
    },
    /// The region's prices are known, its zones are not.
    #[error(
        "prices for region {region} are embedded, but not which zones offer which types; ask AWS with --live, or give \
         --catalog FILE, which `stowage catalog import --region {region} --offerings FILE` makes from a saved answer"
    )]
    NoZones {
        /// The region.
        region: String,
    },
    /// The embedded data does not read: a defect of the build.
    #[error("the embedded catalogue is damaged ({0}); this build of Stowage is defective")]
    Embedded(String),
    /// A catalogue file is not as it should be.
    #[error("catalogue {file}{place}: {problem}")]
    File {
        /// Name of the file.
        file: String,
        /// Where in it, as `, type m7i.large, offerings[2].Price`; empty for the file as a whole.
        place: String,
        /// What is wrong, and what to write instead.
        problem: String,
    },
}
