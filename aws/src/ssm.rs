//! Parameters of the Systems Manager, in which AWS and others publish which image is the newest.

use crate::ec2::Refused;

/// A client of the parameters.
#[derive(Clone, Debug)]
pub struct Parameters {
    pub(crate) client: aws_sdk_ssm::Client,
}

impl Parameters {
    /// The value of a parameter; `None` where there is none of that name.
    ///
    /// # Errors
    /// What the Systems Manager says.
    pub async fn get(&self, name: &str) -> Result<Option<String>, Refused> {
        let answer = self.client.get_parameter().name(name).send().await;
        match answer.map_err(|error| Refused::of("GetParameter", &error)) {
            Ok(answer) => Ok(answer.parameter().and_then(|of| of.value()).map(str::to_owned)),
            Err(refused) if refused.is_gone() => Ok(None),
            Err(refused) => Err(refused),
        }
    }
}
