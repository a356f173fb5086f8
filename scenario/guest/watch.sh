#!/bin/busybox sh
# Runs beside the guest's main program when hs.watch=1: tells which disks there are whenever that
# changes, and writes a counter to each of them but the one named by the first argument. The second
# argument is the pause between two blocks of one disk, in seconds. See init.sh for the lines.
#
# A disk's counter blocks are 512 bytes of text each, `N BOOTID SUM` and spaces, in a ring of 256
# from byte 1048576 on: block N lies at place N modulo 256. SUM is (N * 131071 + 7) modulo 2^31-1.

kept=$1 pause=$2
readonly first=2048 places=256
mkfifo /run/pause
exec 5<>/run/pause
read -r boot </proc/sys/kernel/random/boot_id
mkdir -p /run/disk

# Sets $node to a device node of the disk. It is our own, and another one each time that a disk of
# that name comes: who writes to one that went away makes an ordinary file in its place.
node_of() {
  local numbers
  read -r numbers <"/sys/block/$1/dev"
  nodes=$((nodes + 1))
  node=/run/disk/$1.$nodes
  mknod "$node" b "${numbers%:*}" "${numbers#*:}"
}

# Requests fail a moment before the kernel takes the disk away, and its node is removed.
gone() {
  for _ in 1 2 3 4 5 6 7 8 9 10; do
    [ -e "/sys/block/$1" ] && [ -b "$2" ] || return 0
    read -r -t 0.1 _ <&5
  done
  return 1
}

# Sets $n to the newest counter on the disk of a node.
find_newest() {
  n=$(dd if="$1" bs=512 skip=$first count=$places iflag=direct 2>/dev/null |
    awk 'BEGIN { n = 0 } NF == 3 && $3 == ($1 * 131071 + 7) % 2147483647 && $1 > n { n = $1 }
      END { print n }')
}

count_on() {
  local disk=$1 node=$2 block=/run/block-${2##*/} back said
  find_newest "$node"
  echo "HS-FOUND $disk $n"
  while :; do
    n=$((n + 1))
    said="$n $boot $(((n * 131071 + 7) % 2147483647))"
    # A line of 512 bytes, so that the ring is a text file.
    printf '%-511s\n' "$said" >"$block"
    if ! dd if="$block" of="$node" bs=512 seek=$((first + n % places)) \
      conv=notrunc,fsync oflag=direct 2>"$block.error"; then
      gone "$disk" "$node" || echo "HS-LOST $disk $n write: $(cat "$block.error")"
      return
    fi
    back=$(dd if="$node" bs=512 skip=$((first + n % places)) count=1 iflag=direct 2>/dev/null)
    if [ "${back%% *}" != "$n" ]; then
      gone "$disk" "$node" || echo "HS-LOST $disk $n read back: $back"
      return
    fi
    echo "HS-COUNT $disk $n"
    read -r -t "$pause" _ <&5
  done
}

# Sets $disks to NAME:BYTES:SERIAL of each disk, and $names.
look() {
  local path name sectors serial
  disks='' names=''
  for path in /sys/block/vd* /sys/block/sd*; do
    name=${path##*/}
    read -r sectors 2>/dev/null <"$path/size" || continue
    serial=
    read -r serial 2>/dev/null <"$path/serial"
    # A SCSI disk has it in the unit serial number page of its vital product data, after 4 bytes.
    [ -e "$path/device/vpd_pg80" ] &&
      serial=$(dd if="$path/device/vpd_pg80" bs=1 skip=4 2>/dev/null)
    disks="$disks $name:$((sectors * 512)):$serial" names="$names $name"
  done
}

echo "HS-BOOTID $boot"
said=none busy= nodes=0
while :; do
  look
  if [ "$disks" != "$said" ]; then
    said=$disks
    echo "HS-DISKS$disks"
    for name in $busy; do
      case " $names " in *" $name "*) ;; *) rm -f "/run/disk/$name".* ;; esac
    done
    for name in $names; do
      case " $busy " in *" $name "*) continue ;; esac
      [ "$name" = "$kept" ] && continue
      node_of "$name"
      count_on "$name" "$node" &
    done
    busy=$names
  fi
  read -r -t 0.1 _ <&5
done
