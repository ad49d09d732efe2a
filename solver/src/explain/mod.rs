//! Why a plan is as it is: reasons of pods that fit nowhere.

mod unplaced;

pub(crate) use unplaced::reasons;
