# The smallest guest: a boot sector that greets on the serial port and obeys the power button.
#   as --32 -o boot.o boot.S && objcopy -O binary -j .text boot.o boot.bin
# The byte at offset 3 is its mode: 'B' obeys the button, 'I' ignores it, 'S' shuts itself down at once, 'L' talks
# without end, 'C' writes its boot sector to the disk's second sector and then counts seconds, about: it says the number
# in memory, which only a guest that moved without a boot goes on with.
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
        cmpb    $'C', 0x7c00 + mode - start
        je      count
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
count:  mov     $0x7c00 + hello - start, %si
        call    print
        xor     %ax, %ax
        mov     %ax, %es
        mov     $0x7c00, %bx
        mov     $0x0301, %ax
        mov     $0x0002, %cx
        mov     $0x0080, %dx
        int     $0x13
        movw    $0, 0x7e00
next:   mov     $18, %cx
tick:   hlt
        loop    tick
        incw    0x7e00
        mov     0x7e00, %bx
        mov     $4, %cx
digit:  rol     $4, %bx
        mov     %bl, %al
        and     $15, %al
        add     $'0', %al
        cmp     $'9', %al
        jbe     1f
        add     $7, %al
1:      mov     $0x3f8, %dx
        out     %al, %dx
        loop    digit
        mov     $0x7c00 + line - start, %si
        call    print
        jmp     next
line:   .asciz  "\r\n"
hello:  .asciz  "tiny guest up\r\n"
bye:    .asciz  "tiny guest off\r\n"
        .org    510
        .word   0xaa55
