# The guest: a Debian kernel with busybox, which writes to its disks, reads back and tells its console.
# shellcheck shell=bash

# What the guest does; `test/openstack/flows.ts` reads its lines from the console.
guest_init() {
  cat <<'Y'
#!/bin/sh
/bin/busybox --install -s /bin
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev
for m in virtio_ring virtio virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci virtio_blk; do
  insmod /mod/$m.ko 2>&1 >/dev/ttyS0; done
sleep 1
exec >/dev/ttyS0 2>&1
echo "GUEST-READY"
id=$(cut -c1-8 /proc/sys/kernel/random/boot_id)
now() { cut -d' ' -f1 /proc/uptime; }
# Nothing is wrong with a disk that is being taken away.
complain() { sleep 1; [ ! -e /sys/block/$1 ] || echo "BAD $*"; }
i=0; last=; seen=; longest=0
# At 512 MiB of every disk of 1 GiB and more: a line of 512 bytes, flushed, read back from the disk.
while :; do
  disks=; for b in /sys/block/vd*; do [ -e $b ] && disks="$disks ${b##*/}:$(cat $b/size)"; done
  [ "$disks" = "$last" ] || { echo "DISKS$disks"; last=$disks; }
  for entry in $disks; do
    d=${entry%%:*}; [ ${entry##*:} -ge 2097152 ] || continue
    # A node of our own: writing to one of /dev that has just gone would make a file of its name.
    node=/tmp/$d; rm -f $node; numbers=$(cat /sys/block/$d/dev) || continue
    mknod $node b ${numbers%:*} ${numbers#*:}
    case " $seen " in *" $d "*) ;; *)
      # A disk that is there for the first time: what another guest left on it.
      echo "FOUND $d $(dd if=$node bs=512 skip=1048576 count=1 2>/dev/null | tr -d '\000')"
      seen="$seen $d";; esac
    before=$(now)
    echo "count $i boot $id" | dd of=$node bs=512 seek=1048576 count=1 conv=sync,fsync,notrunc 2>/tmp/e ||
      complain $d "write $i: $(tail -1 /tmp/e)"
    echo 1 >/proc/sys/vm/drop_caches
    read -r got <<E
$(dd if=$node bs=512 skip=1048576 count=1 2>/dev/null | tr -d '\000')
E
    [ "$got" = "count $i boot $id" ] || complain $d "read $i: $got"
    longest=$(echo "$before $(now) $longest" | awk '{ t = $2 - $1; print (t > $3 ? t : $3) }')
  done
  # A disk that went and comes again is another one.
  for d in $seen; do case "$disks" in *" $d:"*) ;; *) seen=$(echo " $seen " | sed "s/ $d / /");; esac; done
  i=$((i+1)); [ $((i%4)) = 0 ] && echo "BEAT $i boot $id longest $longest on$disks"
  sleep 0.5
done
Y
}

# Builds the image once: one FAT disk without partitions, syslinux in its boot sector.
guest_image() {
  local kernel version m
  mkdir -p "$BASE/img"
  cd "$BASE/img"
  [ ! -s disk.raw ] || return 0
  kernel=$(find /boot -name 'vmlinuz-*-cloud-amd64' | sort -V | tail -1)
  version=${kernel#/boot/vmlinuz-}
  rm -rf ir
  mkdir -p ir/{bin,proc,sys,dev,mod,mnt,tmp}
  cp /bin/busybox ir/bin/
  ln -s busybox ir/bin/sh
  for m in virtio_ring virtio virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci virtio_blk; do
    cp "$(find "/lib/modules/$version" -name "$m.ko")" ir/mod/
  done
  guest_init >ir/init
  chmod +x ir/init
  (cd ir && find . | cpio -o -H newc --quiet | gzip -9) >initrd.gz
  truncate -s 40M part.raw
  mkfs.vfat -n GUEST part.raw >/dev/null
  printf 'DEFAULT l\nPROMPT 0\nTIMEOUT 0\nLABEL l\n KERNEL vmlinuz\n INITRD initrd.gz\n APPEND console=ttyS0 quiet tsc=unstable mitigations=off\n' >syslinux.cfg
  mcopy -i part.raw "$kernel" ::vmlinuz
  mcopy -i part.raw initrd.gz ::
  mcopy -i part.raw syslinux.cfg ::
  syslinux --install part.raw
  mv part.raw disk.raw
}

# Uploads it, and makes flavors and volume types.
image() {
  [ ! -e "$BASE/state/image" ] || return 0
  guest_image
  "$BASE/os" image create --disk-format raw --container-format bare --public \
    --property hw_serial_port_count=1 --file "$BASE/img/disk.raw" tiny -f value -c id
  "$BASE/os" flavor create --ram 128 --disk 0 --vcpus 1 --id 1 t1 -f value -c name || :
  "$BASE/os" flavor create --ram 128 --disk 1 --vcpus 1 --id 2 t1d -f value -c name || :
  "$BASE/os" flavor create --ram 160 --disk 1 --vcpus 1 --id 3 t2d -f value -c name || :
  "$BASE/os" flavor create --ram 160 --disk 0 --vcpus 1 --id 4 t2 -f value -c name || :
  "$BASE/os" volume type create trivial --property volume_backend_name=trivial -f value -c name || :
  "$BASE/os" volume type create hyperscale --property volume_backend_name=hyperscale -f value -c name || :
  "$BASE/os" volume type create multi --property volume_backend_name=hyperscale \
    --property multiattach='<is> True' -f value -c name || :
  "$BASE/os" volume type create luks --property volume_backend_name=hyperscale -f value -c name \
    --encryption-provider luks --encryption-cipher aes-xts-plain64 --encryption-key-size 256 \
    --encryption-control-location front-end || :
  touch "$BASE/state/image"
}
