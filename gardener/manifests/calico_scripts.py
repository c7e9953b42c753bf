"""The shell scripts inside the calico-node DaemonSet, copied from the chart verbatim.

Source: gardener-extension-networking-calico charts/internal/calico/templates/node/daemonset-calico-node.yaml.
"""

from __future__ import annotations

from typing import Final

_IPTABLES_BACKEND: Final = """\
nft_kubelet_rules=$( (iptables-nft-save -t mangle; ip6tables-nft-save -t mangle ) 2>/dev/null | grep -E '^:(KUBE-IPTABLES-HINT|KUBE-KUBELET-CANARY)')
if [ -n "$nft_kubelet_rules" ]; then
  backend="nft"
else
  backend="legacy"
fi
"""  # noqa: E501 - the chart's own line

LOG_MTU_ISSUES: Final = (
    _IPTABLES_BACKEND
    + """\
rulespecV4=("-p" "icmp" "--icmp-type" "fragmentation-needed" "-m" "comment" "--comment" "gardener log mtu problems for ipv4" "-j" "LOG" "--log-prefix" "PACKET-TOO-BIG ")
rulespecV6=("-p" "ipv6-icmp" "--icmpv6-type" "packet-too-big" "-m" "comment" "--comment" "gardener log mtu problems for ipv6" "-j" "LOG" "--log-prefix" "PACKET-TOO-BIG ")
if iptables-$backend -t filter -C OUTPUT "${rulespecV4[@]}" 2>/dev/null; then
  echo "IPv4 MTU logging rule already exists"
else
  iptables-$backend -t filter -I OUTPUT "${rulespecV4[@]}"
fi
if ip6tables-$backend -t filter -C OUTPUT "${rulespecV6[@]}" 2>/dev/null; then
  echo "IPv6 MTU logging rule already exists"
else
  ip6tables-$backend -t filter -I OUTPUT "${rulespecV6[@]}"
fi
"""  # noqa: E501 - the chart's own lines
)

SNAT_TO_UPSTREAM_DNS: Final = (
    _IPTABLES_BACKEND
    + """\
sleep 15
trap 'echo Received SIGTERM, exiting...' TERM
(while true; do
  for i in $(cat /etc/resolv.conf | grep nameserver | sed -n -e 's/^.*nameserver //p' ); do
    if [[ $i =~ .*:.* ]] && [[ ${POD_CIDR} =~ .*:.* ]]; then
      ip6tables-$backend -t nat -C POSTROUTING -s ${POD_CIDR} -d $i/128 ! -o cali+ -m comment --comment "calico masquerade non-cluster" -j MASQUERADE 2>/dev/null \\
      || ip6tables-$backend -t nat -I POSTROUTING 1 -s ${POD_CIDR} -d $i/128 ! -o cali+ -m comment --comment "calico masquerade non-cluster" -j MASQUERADE
    elif [[ $i =~ ^[0-9]+\\.[0-9]+\\.[0-9]+\\.[0-9]+$ ]] && [[ ${POD_CIDR} =~ ^[0-9]+\\.[0-9]+\\.[0-9]+\\.[0-9]+ ]]; then
      iptables-$backend -t nat -C POSTROUTING -s ${POD_CIDR} -d $i/32 ! -o cali+ -m comment --comment "calico masquerade non-cluster" -j MASQUERADE 2>/dev/null \\
      || iptables-$backend -t nat -I POSTROUTING 1 -s ${POD_CIDR} -d $i/32 ! -o cali+ -m comment --comment "calico masquerade non-cluster" -j MASQUERADE
    fi
  done
  sleep 60
done)&
wait
"""  # noqa: E501 - the chart's own lines
)

ENSURE_CONDITION: Final = """\
echo "Waiting 30s for initialization to complete..."
sleep 30
echo "Ensuring NetworkUnavailable condition is set correctly..."
calico-node -startup
echo "Finished ensuring NetworkUnavailable condition is set correctly. Going to sleep."
trap 'echo "Got terminated"' TERM
sleep infinity&
wait $!
"""
"""With Calico v3.31 and later `-startup` no longer touches the condition, so the sidecar has no effect. Source:
calico v3.31.6 node startup.go:257-354."""

CLEANUP_BIRD_ROUTES: Final = "IFS=$'\n';for i in $(ip route | grep 'proto bird');do unset IFS;ip route del $i;done"
"""Only the main table, only IPv4, and only routes of protocol bird; it fails if the last line ends with linkdown."""
