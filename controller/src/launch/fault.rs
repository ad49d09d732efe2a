//! Why EC2 did not launch, as one word: the reason of the condition `Launched` while a launch is tried again.
//!
//! compat: karpenter-provider-aws v1.14, `pkg/errors`.

/// The reason for a code of EC2; `LaunchFailed` where the code says nothing that users could look up.
pub fn reason(code: &str) -> &'static str {
    /// Codes, or what they begin with, and the reason.
    const REASONS: [(&str, &str); 17] = [
        ("UnauthorizedOperation", "Unauthorized"),
        ("AccessDenied", "Unauthorized"),
        ("AuthFailure.ServiceLinkedRoleCreationNotPermitted", "SpotSLRCreationFailed"),
        ("AuthFailure", "Unauthorized"),
        ("InvalidAMIID.NotFound", "AMINotFound"),
        ("InvalidAMIID", "InvalidAMIID"),
        ("InvalidLaunchTemplate", "LaunchTemplateNotFound"),
        ("InvalidIamInstanceProfile", "InstanceProfileNameInvalid"),
        ("InvalidSecurityGroupID", "SecurityGroupSubnetVPCMismatch"),
        ("InvalidUserData", "UserDataSizeLimitExceeded"),
        ("RequestLimitExceeded", "RequestLimitExceeded"),
        ("Internal", "InternalError"),
        ("MaxSpotFleet", "SpotQuotaExceeded"),
        ("MaxFleet", "FleetQuotaExceeded"),
        ("VcpuLimitExceeded", "VCPULimitExceeded"),
        ("PendingVerification", "AccountPendingVerification"),
        ("InsufficientFreeAddressesInSubnet", "InsufficientFreeAddressesInSubnet"),
    ];
    REASONS.iter().find(|(start, _)| code.starts_with(start)).map_or("LaunchFailed", |(_, reason)| reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_the_reasons_that_users_know() {
        for (code, wanted) in [
            ("UnauthorizedOperation", "Unauthorized"),
            ("InvalidAMIID.NotFound", "AMINotFound"),
            ("InvalidAMIID.Malformed", "InvalidAMIID"),
            ("RequestLimitExceeded", "RequestLimitExceeded"),
            ("SomethingNew", "LaunchFailed"),
            ("", "LaunchFailed"),
        ] {
            assert_eq!(reason(code), wanted, "{code}");
        }
    }
}
