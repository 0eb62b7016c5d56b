#!/bin/bash
# boot.sh - run a command inside a throw-away QEMU (TCG) guest that has emulated
# SR-IOV NICs (Intel 82576, driver igb, 7 VFs per PF) and an emulated VT-d IOMMU.
#
#   boot.sh [options] -- COMMAND [ARG...]
#
# The guest sees this machine's root file system (read-only 9p) under a tmpfs overlay:
# whatever was built here runs there under the same path. Writes vanish with the guest,
# except those under $RIG_OUT, which land in the result folder (-o) as they are made.
# The command's stdout, stderr and exit status become this script's own.
# PFs are named pf0, pf1, ... and are up; the guest has no other NIC and no way out.
#
# The first run with a given machine shape boots Linux once (5-20 s) up to "PFs are up"
# and saves the guest's state; every later run resumes a private copy of that state
# (about 1-2 s on a quiet machine). -c boots from cold instead.
#
#   -n N            igb PFs, 0..4 (default 1)      -N         no IOMMU
#   -w wired|split  PFs on one emulated wire (default) or each on its own
#   -W              capture each PF's wire as $RIG_OUT/wire-pfN.pcap
#   -m MiB          guest memory (default 1536)    -s N       vCPUs (default 2)
#   -H N            2 MiB hugepages (default 0)    -o DIR     result folder
#   -t SEC          time limit (default 300)       -d DIR     working folder (default $PWD)
#   -T single|multi TCG threads (default single: steady; multi: faster when two vCPUs poll,
#                   but QEMU <= 10.0 sometimes aborts, which costs a retry or a failed run)
#   -r N            retries if the guest dies before COMMAND starts (default 2)
#   -e NAME         pass this variable on (repeatable)   -a STR  extra kernel argument
#   -q ARG          extra QEMU argument            -c         cold boot, no saved state
#   -i              interactive root shell (cold)  -k         keep the run folder
#   -p MODULE       also load MODULE before COMMAND (repeatable)
#
# Exit status: COMMAND's; 124 time limit; 125 the rig failed (no guest, no status).
# Needs QEMU >= 8.0 ($RIG_QEMU, or the one in $PATH), a linux-image package of Debian (6.1 or later, unpacked under
# $RIG_KROOT, or installed), busybox-static, kmod, xz-utils, zstd, cpio, util-linux, iproute2 in the root file system.
# Kits and saved states are kept under $RIG_HOME. `cargo run -p hw-tests` provides all three.
set -u
PATH=$PATH:/usr/sbin:/sbin     # for depmod and modprobe, which only read here
RIG_HOME=${RIG_HOME:-/var/tmp/rig-boot}
KROOT=${RIG_KROOT:-}      # where a linux-image .deb was unpacked (dpkg-deb -x); empty: installed
KVER=${RIG_KVER:-$(ls "$KROOT/lib/modules" 2>/dev/null | sort -V | tail -n 1)}
QEMU=${RIG_QEMU:-qemu-system-x86_64}
BOOTMODS="virtio_pci virtio_console 9p 9pnet_virtio overlay virtio_rng"
PRELOAD=${RIG_PRELOAD:-"igb 8021q macvlan ipvlan dummy veth bridge vrf bonding vfio-pci vfio_iommu_type1"}
MODS=${RIG_MODS:-"igbvf psample macvtap ipvtap team br_netfilter tun tap vxlan geneve ifb macsec wireguard xfrm_interface hsr
 virtio_net vhost_net nf_tables nft_chain_nat nft_ct nft_nat nft_masq nft_reject_inet nft_reject_ipv4 nft_reject_ipv6 nft_compat nft_limit nft_fib_inet
 xt_MASQUERADE xt_comment xt_conntrack xt_mark xt_addrtype xt_multiport xt_REDIRECT xt_nat ip_tables iptable_nat iptable_filter iptable_mangle
 ip6_tables ip6table_nat ip6table_filter ip_set xt_set openvswitch sch_ingress sch_tbf sch_htb sch_prio sch_netem cls_u32 cls_matchall cls_flower
 act_mirred act_police act_gact uio_pci_generic vmw_vsock_virtio_transport nbd loop"}

die() { echo "rig-boot: $*" >&2; exit 125; }
[ -n "$KVER" ] || die "no kernel under $KROOT/lib/modules"

pfs=1 wiring=wired mem=1536 smp=2 huge=0 out= limit=300 wd=$PWD thr=single retries=2 iommu=1 keep=0 inter=0 cold=0 wirecap=0
envs=() kargs=() qargs=() pmods=()
while getopts n:w:m:s:H:o:t:d:T:r:e:a:q:p:kiNcW o; do case $o in
  n) pfs=$OPTARG;; w) wiring=$OPTARG;; m) mem=$OPTARG;; s) smp=$OPTARG;; H) huge=$OPTARG;; o) out=$OPTARG;;
  t) limit=$OPTARG;; d) wd=$OPTARG;; T) thr=$OPTARG;; r) retries=$OPTARG;; e) envs+=("$OPTARG");;
  a) kargs+=("$OPTARG");; q) qargs+=("$OPTARG");; p) pmods+=("$OPTARG");; k) keep=1;; i) inter=1 cold=1;;
  N) iommu=0;; c) cold=1;; W) wirecap=1;; *) exit 125;; esac; done
shift $((OPTIND-1))
[ $inter = 1 ] || [ $# -gt 0 ] || die "no command"

# ------------------------------------------------------------ kit: once per kernel and module list
kkey=$( { echo "$KVER|$BOOTMODS|$PRELOAD|$MODS"; stat -c %Y.%s "$KROOT/boot/vmlinuz-$KVER"; cat "$0"; } | sha256sum | cut -c1-12)
kit=$RIG_HOME/kit-$KVER-$kkey
build_kit() {
  local t=$kit.new.$$ m f rel o z off len
  rm -rf "$t"; mkdir -p "$t/tree/lib/modules/$KVER" "$t/ird/bin" "$t/ird/m"
  # 1. the ELF kernel out of the bzImage: QEMU enters it by PVH, the guest unpacks nothing
  #    (Linux, Documentation/arch/x86/boot.rst: setup_sects at 0x1f1, payload_offset and payload_length at 0x248)
  z=$KROOT/boot/vmlinuz-$KVER
  at() { od -An -t "u$2" -j "$1" -N "$2" "$z" | tr -d ' '; }
  off=$(( ($(at 497 1) + 1) * 512 + $(at 584 4) )) len=$(at 588 4)
  tail -c "+$((off + 1))" "$z" | head -c "$len" >"$t/vmlinux.z"
  case $(head -c4 "$t/vmlinux.z" | od -An -tx1 | tr -d ' ') in
    # the last four bytes are the size, which zstd takes for the start of another frame
    28b52ffd) head -c "$((len - 4))" "$t/vmlinux.z" | zstd -dqc >"$t/vmlinux" || return 1;;
    fd377a58) xz -dc <"$t/vmlinux.z" >"$t/vmlinux" 2>/dev/null;;
    1f8b*) gzip -dc <"$t/vmlinux.z" >"$t/vmlinux" 2>/dev/null;;
    *) cp "$KROOT/boot/vmlinuz-$KVER" "$t/vmlinux";; esac
  rm -f "$t/vmlinux.z"
  # 2. the modules wanted and what they need, uncompressed, under an index of their own
  [ -e "$KROOT/lib/modules/$KVER/modules.dep" ] || depmod -b "${KROOT:-/}" "$KVER" || return 1
  for m in $BOOTMODS $PRELOAD $MODS; do modprobe -d "${KROOT:-/}" -S "$KVER" --show-depends "$m" 2>/dev/null; done |
    awk '$1=="insmod" && !s[$2]++ {print $2}' | while read -r f; do
      rel=${f##*/lib/modules/"$KVER"/}; o=${rel%.xz} o=$t/tree/lib/modules/$KVER/${o%.zst}; mkdir -p "${o%/*}"
      case $f in *.xz) xz -dc "$f" >"$o";; *.zst) zstd -dqc "$f" >"$o";; *) cp "$f" "$o";; esac
    done
  cp "$KROOT"/lib/modules/"$KVER"/modules.{builtin,builtin.modinfo,order} "$t/tree/lib/modules/$KVER/"
  depmod -b "$t/tree" "$KVER" || return 1
  # 3. the first stage
  cp /bin/busybox "$t/ird/bin/"
  for m in $BOOTMODS $PRELOAD; do modprobe -d "$t/tree" -S "$KVER" --show-depends "$m"; done |
    awk '$1=="insmod" && !s[$2]++ {print $2}' | while read -r f; do
      cp "$f" "$t/ird/m/"; echo "${f##*/}" >>"$t/ird/m/order"; done
  cat >"$t/ird/init" <<'I'
#!/bin/busybox sh
B=/bin/busybox
$B mkdir -p /proc /sys /dev /ro /rw /new
$B mount -t proc proc /proc; $B mount -t sysfs sys /sys; $B mount -t devtmpfs dev /dev
while read -r m; do case $m in bonding.ko) m="$m max_bonds=0";; dummy.ko) m="$m numdummies=0";; esac; $B insmod /m/$m; done </m/order
$B ip link set lo up
n=0; for i in /sys/class/net/eth*; do [ -e $i/device/sriov_numvfs ] || continue
  read -r a <$i/address; p=pf$((0x$(echo $a | $B cut -d: -f5)))
  $B ip link set ${i##*/} name $p; $B ip link set $p up; n=$((n+1)); done
k=0; while [ $k -lt 100 ] && [ $n -gt 0 ]; do c=0; for i in /sys/class/net/pf*; do [ "$($B cat $i/carrier)" = 1 ] && c=$((c+1)); done
  [ $c -ge $n ] && break; $B sleep .1; k=$((k+1)); done
for p in /sys/class/virtio-ports/*; do read -r x <$p/name; [ "$x" = rig.ctl ] && ctl=/dev/${p##*/}; done
echo RIG-READY >/dev/ttyS0
read -r go now <$ctl                     # a saved state is taken here, before any 9p mount
$B date -s @$now >/dev/null
o=trans=virtio,version=9p2000.L,msize=512000
$B mount -t 9p -o $o,ro,cache=loose rigroot /ro &&
$B mount -t tmpfs -o mode=755 tmpfs /rw && $B mkdir /rw/u /rw/w &&
$B mount -t overlay -o lowerdir=/ro,upperdir=/rw/u,workdir=/rw/w overlay /new || $B poweroff -f
$B mount --move /dev /new/dev; $B mount --move /proc /new/proc; $B mount --move /sys /new/sys
$B mount -t tmpfs -o mode=755 run /new/run; $B mkdir -p /new/run/rig /new/run/kit /new/run/rigout
$B mount -t 9p -o $o,cache=none rigrun /new/run/rig; $B mount -t 9p -o $o,ro,cache=loose rigkit /new/run/kit
$B mount -t 9p -o $o,cache=none rigout /new/run/rigout
exec $B switch_root /new /run/kit/stage2
I
  cat >"$t/stage2" <<'I'
#!/bin/bash
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root RIG_GUEST=1 RIG_OUT=/run/rigout
mkdir -p "/lib/modules/$(uname -r)"; mount --bind "/run/kit/tree/lib/modules/$(uname -r)" "/lib/modules/$(uname -r)"
mkdir -p /dev/pts /dev/shm /dev/hugepages /dev/net /run/lock /run/netns
mount -t devpts -o gid=5,mode=620,ptmxmode=666 devpts /dev/pts; mount -t tmpfs tmpfs /dev/shm
mount -t cgroup2 cgroup2 /sys/fs/cgroup 2>/dev/null; mount -t bpf bpf /sys/fs/bpf 2>/dev/null
mount -t hugetlbfs hugetlbfs /dev/hugepages
for d in net/tun:10:200 vhost-net:10:238 loop-control:10:237 vfio/vfio:10:196; do IFS=: read -r n a b <<<"$d"
  [ -e /dev/$n ] || { mkdir -p "/dev/$(dirname $n)"; mknod /dev/$n c $a $b; }; done
ln -sfn /proc/self/fd /dev/fd; ln -sfn fd/0 /dev/stdin; ln -sfn fd/1 /dev/stdout; ln -sfn fd/2 /dev/stderr
printf 'options %s\n' 'ifb numifbs=0' 'bonding max_bonds=0' 'dummy numdummies=0' >/etc/modprobe.d/rig.conf
. /run/rig/set                       # huge=, pmods=
[ "$huge" = 0 ] || echo "$huge" >/proc/sys/vm/nr_hugepages
for m in $pmods; do modprobe "$m" || echo "rig: no module $m" >/dev/ttyS0; done
: >/run/rig/started
if [ -e /run/rig/interactive ]; then setsid -c bash -i <>/dev/ttyS0 >&0 2>&1; rc=0
else
  for p in /sys/class/virtio-ports/*; do read -r n <"$p/name"; case $n in rig.out) so=/dev/${p##*/};; rig.err) se=/dev/${p##*/};; esac; done
  bash /run/rig/cmd </dev/null >"$so" 2>"$se"; rc=$?
fi
dmesg >/run/rig/dmesg 2>/dev/null
echo "$rc" >/run/rig/rc.new; mv /run/rig/rc.new /run/rig/rc
# all output is with the host by now; leave through isa-debug-exit (a clean power-off costs 1 s more)
printf '\020' | dd of=/dev/port bs=1 seek=244 count=1 conv=notrunc status=none 2>/dev/null
busybox poweroff -f
I
  chmod 755 "$t/ird/init" "$t/stage2"
  (cd "$t/ird" && find . | cpio -o -H newc --quiet) >"$t/initrd" || return 1
  rm -rf "$t/ird"; mv -T "$t" "$kit" 2>/dev/null || rm -rf "$t"
}
[ -e "$kit/initrd" ] || { mkdir -p "$RIG_HOME"; build_kit || die "cannot build kit"; }

# ------------------------------------------------------------ the machine
run=$(mktemp -d "${TMPDIR:-/tmp}/rig.XXXXXX") || die "no run folder"
[ -n "$out" ] || out=$run/out
mkdir -p "$out"; out=$(realpath "$out")
cleanup() { [ -z "${qpid:-}" ] || kill "$qpid" 2>/dev/null
  if [ $keep = 1 ]; then echo "rig-boot: kept $run" >&2; else rm -rf "$run"; fi; }
trap cleanup EXIT; trap 'exit 130' INT TERM
{ for e in ${envs[@]+"${envs[@]}"}; do printf 'export %s=%q\n' "$e" "${!e-}"; done
  printf 'cd %q || exit 125\n' "$wd"; printf 'exec'; printf ' %q' "$@"; echo; } >"$run/cmd"
printf 'huge=%q pmods=%q\n' "$huge" "${pmods[*]-}" >"$run/set"
[ $inter = 0 ] || : >"$run/interactive"

net=() cap=()
for ((i=0;i<pfs;i++)); do
  h=0; [ "$wiring" = split ] && h=$i
  net+=(-device "pcie-root-port,id=rp$i,chassis=$((i+1)),slot=$((i+1)),bus=pcie.0,addr=$(printf '%x' $((16+i)))"
        -netdev "hubport,id=n$i,hubid=$h" -device "igb,id=pf$i,bus=rp$i,netdev=n$i,mac=$(printf '02:00:00:00:%02x:00' $i)")
  [ $wirecap = 0 ] || cap+=(-object "filter-dump,id=cap$i,netdev=n$i,file=$out/wire-pf$i.pcap")
done
append="console=ttyS0 quiet panic=-1 mitigations=off nokaslr no_timer_check tsc=reliable random.trust_cpu=on apparmor=0 audit=0 net.ifnames=0 initcall_blacklist=jent_mod_init"
machine=q35,sata=off,smbus=off,vmport=off
iom=(); [ $iommu = 0 ] || { machine+=,kernel-irqchip=split; append+=" intel_iommu=on iommu=pt"; iom=(-device intel-iommu,intremap=on); }
append+=" ${kargs[*]-}"
fs() { printf '%s\n' -fsdev "local,id=$1,path=$2,security_model=none,multidevs=remap$3" -device "virtio-9p-pci,fsdev=$1,mount_tag=$1,disable-legacy=on"; }
mapfile -t fsa < <(fs rigroot / ,readonly=on; fs rigkit "$kit" ,readonly=on; fs rigrun "$run" ''; fs rigout "$out" '')
base=(-nodefaults -no-user-config -display none -no-reboot -name rig -machine "$machine" -cpu "${RIG_CPU:-Nehalem-v1}" -smp "$smp" -m "$mem"
  -kernel "$kit/vmlinux" -initrd "$kit/initrd" -append "$append" ${iom[@]+"${iom[@]}"} -device virtio-rng-pci,disable-legacy=on
  -device isa-debug-exit,iobase=0xf4,iosize=0x4 -device virtio-serial-pci,disable-legacy=on
  -chardev "pipe,id=ct,path=$run/ct" -device virtserialport,chardev=ct,name=rig.ctl
  -chardev "file,id=so,path=$run/so" -device virtserialport,chardev=so,name=rig.out
  -chardev "file,id=se,path=$run/se" -device virtserialport,chardev=se,name=rig.err
  "${fsa[@]}" ${net[@]+"${net[@]}"} ${qargs[@]+"${qargs[@]}"})
mkfifo "$run/ct.in" "$run/ct.out"

# ------------------------------------------------------------ saved state: once per machine shape
inc=()
if [ $cold = 0 ]; then
  skey=$( { "$QEMU" --version | head -1; printf '%s\n' "$kkey" "${base[@]}" | sed "s,$run,RUN,g; s,path=$out,path=OUT,g"; } | sha256sum | cut -c1-16)
  state=$RIG_HOME/state-$skey; touch -c "$state"
  if [ ! -e "$state" ]; then
    ( flock 9; [ -e "$state" ] && exit 0
      # about 100 MB each: keep the eight used last, drop kits unused for a week
      ls -t "$RIG_HOME"/state-* 2>/dev/null | tail -n +8 | xargs -r rm -f
      touch "$kit"; find "$RIG_HOME" -maxdepth 1 -name 'kit-*' -mtime +7 -exec rm -rf {} +
      s=$run/save; mkdir "$s"; cat "$run/ct.out" >/dev/null & cpid=$!
      # one vCPU thread here whatever -T says: the saved state does not depend on it
      # The monitor reads its commands one after the other from standard input; migrate ends when the state is written.
      mkfifo "$s/monitor"; exec 8<>"$s/monitor"
      timeout 180 "$QEMU" -accel tcg,thread=single "${base[@]}" -serial "file:$s/console" -monitor stdio <&8 >"$s/log" 2>&1 9>&- & q=$!
      while kill -0 $q 2>/dev/null && ! grep -q RIG-READY "$s/console" 2>/dev/null; do sleep .1; done
      printf '%s\n' 'migrate_set_parameter max-bandwidth 16G' 'migrate_set_parameter downtime-limit 20000' \
        "migrate file:$state.new.$$" 'info migrate' quit >&8
      wait $q; kill $cpid 2>/dev/null; wait $cpid 2>/dev/null; exec 8>&-
      grep -q 'status: *completed' "$s/log" && mv "$state.new.$$" "$state" ||
        { rm -f "$state.new.$$"; tail -n 3 "$s/log" "$s/console" >&2; exit 1; }
    ) 9>"$RIG_HOME/lock" || echo "rig-boot: could not save a state, booting from cold" >&2
  fi
  [ -e "$state" ] && inc=(-incoming "file:$state")
fi

# ------------------------------------------------------------ one run
deadline=$((SECONDS+limit)); try=0
while :; do
  rm -f "$run"/{started,rc,rc.new,so,se}
  cat "$run/ct.out" >/dev/null & c0=$!
  if [ $inter = 1 ]; then
    : >"$run/so"; : >"$run/se"; ( echo "go $(date +%s)" >"$run/ct.in" ) &
    "$QEMU" -accel "tcg,thread=$thr" "${base[@]}" ${cap[@]+"${cap[@]}"} -serial mon:stdio; kill $c0 2>/dev/null; exit 0
  fi
  mkfifo "$run/so" "$run/se"; cat "$run/so" & c1=$!; cat "$run/se" >&2 & c2=$!
  left=$((deadline-SECONDS)); [ $left -gt 0 ] || left=1
  setpriv --pdeathsig TERM timeout -k 5 "$left" "$QEMU" -accel "tcg,thread=$thr" "${base[@]}" ${cap[@]+"${cap[@]}"} -serial "file:$run/console" ${inc[@]+"${inc[@]}"} \
    </dev/null >"$run/qemu.log" 2>&1 & qpid=$!
  ( echo "go $(date +%s)" >"$run/ct.in" ) & c3=$!
  wait "$qpid"; qrc=$?; qpid=
  kill "$c0" "$c3" 2>/dev/null
  # if QEMU never opened the pipes their readers still wait: give them an end of file
  for p in so se; do ( : <>"$run/$p" ) 2>/dev/null; done
  wait "$c0" "$c1" "$c2" "$c3" 2>/dev/null
  if [ -e "$run/rc" ]; then rc=$(cat "$run/rc"); [ $keep = 0 ] || cp "$run/dmesg" "$out/" 2>/dev/null; exit "$rc"; fi
  if [ $qrc = 124 ] || [ $qrc = 137 ]; then echo "rig-boot: timed out after ${limit}s; console:" >&2; tail -n 5 "$run/console" >&2; exit 124; fi
  if [ ! -e "$run/started" ] && [ $((try++)) -lt "$retries" ]; then
    echo "rig-boot: guest died before the command started (qemu $qrc: $(tail -n 1 "$run/qemu.log")); again" >&2
    [ $try -lt 2 ] || { inc=(); [ -z "${state:-}" ] || rm -f "$state"; }
    continue; fi
  echo "rig-boot: no exit status from the guest (qemu $qrc)" >&2; tail -n 20 "$run/qemu.log" "$run/console" >&2; exit 125
done
