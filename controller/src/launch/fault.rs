//! Why EC2 did not launch, as one word: the reason of the condition `Launched` while a launch is tried again.
//!
//! compat: karpenter-provider-aws v1.14, `pkg/errors`.

use stowage_aws::Refused;

use super::order::NothingToOrder;

/// The reason for what a launch ended with.
pub fn reason_of(error: &anyhow::Error) -> &'static str {
    match (error.downcast_ref::<Refused>(), error.downcast_ref::<NothingToOrder>()) {
        (Some(refused), _) => reason(refused.code.as_deref().unwrap_or_default()),
        (_, Some(NothingToOrder::NoSubnet { .. })) => "SubnetResolutionFailed",
        _ => reason(""),
    }
}

/// The reason for a code of EC2; `LaunchFailed` where the code says nothing that users could look up.
fn reason(code: &str) -> &'static str {
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

    #[test]
    fn who_refused_a_launch_gives_the_reason() {
        let code = Some("InvalidAMIID.NotFound".to_owned());
        let refused = Refused { call: "CreateFleet", code, message: String::new() };
        let nowhere = NothingToOrder::NoSubnet { class: "default".to_owned(), zones: Vec::new() };
        let other = anyhow::anyhow!("something else");
        let reasons = [refused.into(), nowhere.into(), other].map(|error| reason_of(&error));
        assert_eq!(reasons, ["AMINotFound", "SubnetResolutionFailed", "LaunchFailed"]);
    }
}
