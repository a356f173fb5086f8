/** The libvirt definition of a lab's guest. */
import type { GuestImage } from '../scenario/guest/image.ts';
import type { LabGuestOptions } from './libvirt-guest.ts';

const memoryMib = 192;

function kernelArguments(options: LabGuestOptions): string {
  return [
    'console=ttyS1 loglevel=5 panic=-1 mitigations=off nokaslr',
    // Calibrating a time stamp counter that is emulated only costs boot time.
    'tsc=unstable clocksource=acpi_pm no_timer_check cryptomgr.notests',
    `hs.mode=${options.mode ?? 'idle'} hs.watch=1`,
    `hs.seed=${Math.floor(Math.random() * 0x7fffffff)}`,
    `hs.pause=${((options.pauseMs ?? 20) / 1000).toFixed(3)}`,
    options.kernelArguments ?? '',
  ].join(' ');
}

/**
 * An emulated machine of type `pc`, whose PCI slots take virtio disks while it runs, without a
 * network. `consoles`: files for the first serial port (the programs) and the second (the kernel).
 */
export function guestDomainXml(
  options: LabGuestOptions & { image: GuestImage; uuid: string; consoles: [string, string] },
): string {
  const serial = (path: string, port: number): string =>
    `<serial type='file'><source path='${path}' append='on'/><target port='${port}'/></serial>`;
  const [programs, kernel] = options.consoles;
  return `<domain type='qemu'>
  <name>${options.name}</name>
  <uuid>${options.uuid}</uuid>
  <memory unit='MiB'>${memoryMib}</memory>
  <vcpu>1</vcpu>
  <os>
    <type arch='x86_64' machine='pc'>hvm</type>
    <kernel>${options.image.kernel}</kernel>
    <initrd>${options.image.initramfs}</initrd>
    <cmdline>${kernelArguments(options)}</cmdline>
  </os>
  <features><acpi/><vmport state='off'/></features>
  <cpu mode='custom' match='exact' check='none'>
    <model fallback='forbid'>qemu64</model>
    <feature policy='require' name='rdrand'/>
  </cpu>
  <clock offset='utc'><timer name='hpet' present='no'/></clock>
  <on_poweroff>destroy</on_poweroff>
  <on_reboot>destroy</on_reboot>
  <on_crash>destroy</on_crash>
  <devices>
    <controller type='scsi' model='virtio-scsi'/>
    <controller type='usb' model='none'/>
    ${serial(programs, 0)}
    ${serial(kernel, 1)}
    <memballoon model='none'/>
    <audio id='1' type='none'/>
    ${(options.disks ?? []).join('\n    ')}
    ${(options.devices ?? []).join('\n    ')}
  </devices>
</domain>
`;
}
