//! Kubernetes and Karpenter API types, well-known names and quantities, as far as Stowage reads them.
