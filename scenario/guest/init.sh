#!/bin/busybox sh
# Process 1 of the test guest. What it prints on its first serial port (one line each):
#   HS-BOOT CENTISECONDS             userland runs; time since the kernel started
#   HS-MKFS                          the disk was blank and got a file system
#   HS-READY LAST                    mounted; LAST is the number of the last intact record
#   HS-RECORD N CHECKSUM CENTISECONDS  record N is on the disk: fsync of it has returned
#   HS-SUM N CHECKSUM...             checksums of the records N, N+1, ... as read back
#   HS-VERIFIED COUNT LAST           every record was read back intact
#   HS-TORN N                        the last record is incomplete; it was never reported
#   HS-CORRUPT N REASON              record N is missing or wrong
#   HS-IOERROR TEXT, HS-FATAL TEXT   an operation failed; the guest powers off
#   HS-DONE                          verified, unmounted; the guest powers off
# and with hs.watch=1, at any time between the others:
#   HS-BOOTID ID                     the random identity of this boot
#   HS-DISKS NAME:BYTES:SERIAL ...   the disks it sees, said anew when they change
#   HS-FOUND DISK N                  the newest counter block on a disk; 0 when there is none
#   HS-COUNT DISK N                  counter block N is on the disk and was read back
#   HS-LOST DISK N TEXT              a counter block could not be written, or read back otherwise
# What the host asks for stands on the kernel command line: hs.mode (record, verify or idle), hs.seed
# (of the random payloads), hs.pause (seconds between records) and hs.watch.
# See watch.sh for the last five.
# The kernel writes to the second serial port, so that its lines cannot split ours.

export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
exec 3>/dev/ttyS0

say() { echo "$*" >&3; }
stop() {
  say "$@"
  exec 3>&- # Waits until the serial port has sent everything.
  poweroff -f
}
uptime_centiseconds() {
  local whole rest
  read -r whole rest </proc/uptime
  now=${whole%.*}${whole#*.}
}

uptime_centiseconds
say "HS-BOOT $now"

while read -r module; do
  insmod "/modules/$module" || stop "HS-FATAL cannot load $module"
done </modules/order

mode=idle seed=1 pause=0.020 watch=0
read -r arguments </proc/cmdline
for argument in $arguments; do
  case $argument in
    hs.mode=*) mode=${argument#*=} ;;
    hs.seed=*) seed=${argument#*=} ;;
    hs.pause=*) pause=${argument#*=} ;;
    hs.watch=*) watch=${argument#*=} ;;
  esac
done

# `read -t` on a pipe that nobody writes to is a sleep that starts no process.
mkfifo /run/never
exec 4<>/run/never

disk=/dev/vda
records=/data/records
if [ "$watch" = 1 ]; then
  while read -r module; do
    insmod "/modules/$module" || stop "HS-FATAL cannot load $module"
  done </modules/later
  # The disk of the records is not the watcher's to write to.
  kept=vda
  [ "$mode" = idle ] && kept=
  sh /watch.sh "$kept" "$pause" >&3 &
fi
[ -b $disk ] || [ "$mode" = idle ] || stop "HS-FATAL no disk $disk"

# Sets $found to ext4, blank or unknown. A disk that holds anything is never formatted: a lost
# superblock must show as a failure, not as a fresh file system.
look_at_disk() {
  local head
  head=$(dd if=$disk bs=4096 count=1 2>/run/error | hexdump -v -e '1/1 "%02x"')
  [ ${#head} -eq 8192 ] || stop "HS-IOERROR read of $disk: $(cat /run/error)"
  found=unknown
  case $head in
    *[!0]*) ;;
    *) found=blank ;;
  esac
  # The magic number 0xEF53 stands at byte 1080, little-endian.
  [ "$(echo "$head" | cut -c 2161-2164)" = 53ef ] && found=ext4
}

mount_disk() {
  mount -t ext4 $disk /data 2>/run/error || stop "HS-IOERROR mount: $(cat /run/error)"
}

# Sets $verdict (intact, torn or corrupt), $last, $bytes of the intact records, and $reason.
scan() {
  local size=0
  [ -e $records ] && size=$(stat -c %s $records)
  [ -e $records ] || : >>$records || stop "HS-IOERROR cannot create $records"
  awk -v size="$size" -v print_sums="$1" -f /scan.awk $records >&3 2>/run/error ||
    stop "HS-IOERROR read of $records: $(cat /run/error)"
  read -r verdict last bytes reason </run/verdict
}

record() {
  look_at_disk
  case $found in
    blank)
      # No lazy initialisation: the guest's own background writes would blur what is measured.
      # By its path, because busybox's own mke2fs makes ext2 only.
      /bin/mke2fs -q -F -t ext4 -N 4096 -E lazy_itable_init=0,lazy_journal_init=1 $disk \
        >/run/error 2>&1 || stop "HS-IOERROR mke2fs: $(cat /run/error)"
      say HS-MKFS
      ;;
    unknown) stop "HS-FATAL $disk holds something that is not ext4" ;;
  esac
  mount_disk
  scan 0
  [ "$verdict" = corrupt ] && stop "HS-CORRUPT $((last + 1)) $reason"
  if [ "$verdict" = torn ]; then
    truncate -s "$bytes" $records || stop "HS-IOERROR cannot cut the torn record off"
  fi
  sync
  say "HS-READY $last"

  n=$last
  word=$(((seed * 7919 + n) % 2147483646 + 1))
  while :; do
    n=$((n + 1)) sum=$n line=$n
    for i in 1 2 3 4 5 6 7 8 9 10 11 12; do
      word=$((word * 48271 % 2147483647))
      sum=$(((sum * 131071 + word) % 2147483647))
      line="$line $word"
    done
    # Only dd's own fsync of the descriptor that wrote makes the record count.
    dd of=$records oflag=append conv=notrunc,fsync bs=4096 2>/run/error <<END ||
$line $sum
END
      stop "HS-IOERROR record $n: $(cat /run/error)"
    uptime_centiseconds
    echo "HS-RECORD $n $sum $now" >&3
    read -r -t "$pause" _ <&4
  done
}

verify() {
  look_at_disk
  [ $found = ext4 ] || stop "HS-CORRUPT 0 the disk is $found, not ext4"
  mount_disk
  [ -e $records ] || stop "HS-CORRUPT 0 there is no file of records"
  say "HS-READY 0"
  scan 1
  [ "$verdict" = corrupt ] && stop "HS-CORRUPT $((last + 1)) $reason"
  [ "$verdict" = torn ] && say "HS-TORN $((last + 1))"
  umount /data || stop "HS-IOERROR unmount"
  say "HS-VERIFIED $last $last"
  stop HS-DONE
}

case $mode in
  record) record ;;
  verify) verify ;;
  idle)
    say "HS-READY 0"
    while :; do read -r _ <&4; done
    ;;
  *) stop "HS-FATAL unknown mode $mode" ;;
esac
