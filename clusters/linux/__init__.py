"""The Linux kernel: netlink, namespaces, the sandbox."""
