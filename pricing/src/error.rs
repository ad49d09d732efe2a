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
        "no prices for region {region} are embedded (only for {priced}); give types and prices with --catalog FILE \
         (`stowage catalog --region {example} -o json` prints one to start from)"
    )]
    NoPrices {
        /// The region.
        region: String,
        /// Regions that have both.
        priced: String,
        /// One of them.
        example: String,
    },
    /// The region's prices are known, its zones are not.
    #[error(
        "prices for region {region} are embedded, but not which zones offer which types; give types, zones and prices \
         with --catalog FILE (`stowage catalog --region {example} -o json` prints one to start from)"
    )]
    NoZones {
        /// The region.
        region: String,
        /// A region that has both.
        example: String,
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
