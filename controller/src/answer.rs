//! What the API server answered instead of what was asked for.

/// Its code, where it answered at all.
fn code(error: &kube::Error) -> Option<u16> {
    match error {
        kube::Error::Api(status) => Some(status.code),
        _ => None,
    }
}

/// What was named is not there (any more).
pub(crate) fn is_gone(error: &kube::Error) -> bool {
    code(error) == Some(404)
}

/// Somebody else was quicker: what was written was made from an older state.
pub(crate) fn is_conflict(error: &kube::Error) -> bool {
    code(error) == Some(409)
}

/// It is gone, or another one than it was: there is nothing left to do about it as it was.
pub(crate) fn is_outdated(error: &kube::Error) -> bool {
    is_gone(error) || is_conflict(error)
}

/// Somebody forbids it: a role, or who looks at what is written before it is.
pub(crate) fn is_forbidden(error: &kube::Error) -> bool {
    code(error).is_some_and(|code| [400, 403, 422].contains(&code))
}

/// It was understood, and is not done: asking again would not help, and nothing came of it.
pub(crate) fn is_refused(error: &kube::Error) -> bool {
    code(error).is_some_and(|code| (400..500).contains(&code))
}
