# The smallest guest: a boot sector that greets on the serial port and obeys the power button.
#   as --32 -o boot.o boot.S && objcopy -O binary -j .text boot.o boot.bin
# The byte at offset 3 is its mode: 'B' obeys the button, 'I' ignores it, 'S' shuts itself down at once, 'L' talks
# without end.
# Works on machine type pc, whose power management SeaBIOS puts at port 0x600.
        .code16
start:  jmp     begin
        .org    3
mode:   .byte   'B'
begin:  cli
        xor     %ax, %ax
        mov     %ax, %ds
        mov     %ax, %ss
        mov     $0x7c00, %sp
        sti
        mov     $0x7c00 + hello - start, %si
again:  call    print
        cmpb    $'S', 0x7c00 + mode - start
        je      off
        mov     $0x7c00 + hello - start, %si
        cmpb    $'L', 0x7c00 + mode - start
        je      again
        # let the power button be reported
        mov     $0x602, %dx
        mov     $0x100, %ax
        out     %ax, %dx
wait:   hlt
        cmpb    $'I', 0x7c00 + mode - start
        je      wait
        mov     $0x600, %dx
        in      %dx, %ax
        test    $1, %ah
        jz      wait
off:    mov     $0x7c00 + bye - start, %si
        call    print
        # sleep state 5
        mov     $0x604, %dx
        mov     $0x2000, %ax
        out     %ax, %dx
dead:   hlt
        jmp     dead
print:  lodsb
        test    %al, %al
        jz      1f
        mov     $0x3f8, %dx
        out     %al, %dx
        jmp     print
1:      ret
hello:  .asciz  "tiny guest up\r\n"
bye:    .asciz  "tiny guest off\r\n"
        .org    510
        .word   0xaa55
