//! Plan, explain and price the nodes of a captured Kubernetes cluster on AWS.

fn main() {}
